"""How well learners recommend without privacy: every learner and reference on every data set, under each protocol."""

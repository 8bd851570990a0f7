"""DP-SGD on the device: one interaction, not one person, is what cannot be told.

`settings` says what a step is and what it costs, `examples` what it trains on, `kernels` is its mathematics, `trainer`
does it for a cohort, `device` for one client through opacus, `calibration` finds the noise for an epsilon.
"""

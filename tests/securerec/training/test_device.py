"""The choice of what computes local training."""

from pathlib import Path

import pytest
import torch

from securerec.config import make_config, read_config
from securerec.data.interactions import Interactions
from securerec.errors import ConfigError
from securerec.models.pfedrec import PFedRec
from securerec.training.row_trainer import RowTrainer
from securerec.training.torch_cohort import TorchTrainer
from securerec.training.trainers import StreamingTrainer, trainer_of

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
ALONE = Interactions.from_lists([[1, 2, 3]], 20)


def test_the_device_is_in_the_file_of_a_run(tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        (tmp_path / "config.toml").write_bytes(make_config({"training": {"device": device}}).to_toml())
        assert make_config(read_config(tmp_path / "config.toml")).training.device == device
    assert make_config({}).resolved(943).training.device == "cpu"


def test_another_device_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"training\.device: input should be 'cpu' or 'cuda' \(got 'tpu'\)"):
        make_config({"training": {"device": "tpu"}})


@needs_no_cuda
def test_cuda_where_there_is_none_is_refused_before_anything_begins() -> None:
    way_out = r"training\.device cuda: .*: (install|check) .*, or take cpu$"
    with pytest.raises(ConfigError, match=way_out):
        make_config({"training": {"device": "cuda"}}).resolved(943)
    with pytest.raises(ConfigError, match=way_out):
        trainer_of(PFedRec(), ALONE, ALONE, device="cuda")


def test_dp_sgd_on_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigError, match="device cuda does not go with privacy.unit interaction"):
        make_config({"training": {"device": "cuda"}, "privacy": {"unit": "interaction"}}).resolved(943)


@needs_cuda
def test_cuda_trains_in_torch_on_the_gpu() -> None:
    assert make_config({"training": {"device": "cuda"}}).resolved(943).training.device == "cuda"
    trainer = trainer_of(PFedRec(), ALONE, ALONE, device="cuda")
    assert isinstance(trainer, TorchTrainer)
    assert trainer.device.type == "cuda"


def test_cpu_trains_by_compiled_loops_and_both_kinds_can_stream() -> None:
    trainer = trainer_of(PFedRec(), ALONE, ALONE)
    assert isinstance(trainer, RowTrainer)
    assert isinstance(trainer, StreamingTrainer)
    assert isinstance(TorchTrainer(PFedRec(), ALONE, ALONE, torch.device("cpu")), StreamingTrainer)

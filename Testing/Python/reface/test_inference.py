"""Where the networks run: what this machine has, and nothing else."""

from __future__ import annotations

import pytest
import torch

from helpers.imagefiles import assert_one_sentence
from RefaceLib.common.errors import InputError
from RefaceLib.networks import inference


@pytest.fixture
def machine(monkeypatch):
    """Make this machine one that has these accelerators."""

    def has(cuda=False, mps=False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return has


@pytest.mark.parametrize(
    ("cuda", "mps", "best"), [(False, False, "cpu"), (True, False, "cuda"), (False, True, "mps"), (True, True, "cuda")]
)
def test_auto_takes_the_best_device_there_is(cuda, mps, best, machine):
    machine(cuda, mps)
    assert inference.choose_device("auto") == best
    assert inference.choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused_in_a_sentence(name, machine):
    machine()
    with pytest.raises(InputError, match=f"no '{name}' device") as error:
        inference.choose_device(name)
    assert_one_sentence(error)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:1", "CPU"])
def test_an_unknown_device_is_refused_in_a_sentence(name, machine):
    machine(cuda=True)
    with pytest.raises(InputError, match="auto, cpu, cuda, mps") as error:
        inference.choose_device(name)
    assert_one_sentence(error)


@pytest.mark.parametrize(("fast", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_half_precision_is_used_only_where_the_processor_is_fast_at_it(fast, expected, monkeypatch):
    monkeypatch.setattr(inference, "cpu_has_fast_bfloat16", lambda: fast)
    with inference.precision("cpu"):
        assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == expected
    assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32


def test_the_processor_is_asked_without_failing():
    assert inference.cpu_has_fast_bfloat16() in (True, False)

"""Torch modules in place of files; torch itself is optional."""

import numpy as np
import pytest

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import find_cuts, load, to_bytes
from edgewise.profiling.counting import count

torch = pytest.importorskip("torch", reason="needs torch: pip install 'edgewise[torch]'")


def _network():  # type: ignore[no-untyped-def]
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Dropout(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * 36, 5),
    )


@pytest.mark.engine
def test_a_module_becomes_a_network_with_any_batch() -> None:
    network = _network().train()
    model = load(network, example=(torch.zeros(1, 3, 8, 8),))
    assert network.training
    assert model.inputs[0].shape == ("batch", 3, 8, 8)
    assert model.outputs[0].shape == ("batch", 5)
    assert count(model).macs == 8 * 36 * 27 + 8 * 36 * 5
    assert find_cuts(model)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with open_engine(to_bytes(model)) as engine:
        (found,) = engine.run({model.inputs[0].name: images.numpy()}).values()
    wanted = network.eval()(images).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    load(_network(), example=(torch.zeros(2, 3, 8, 8),))
    assert capfd.readouterr().out == ""


def test_a_module_without_an_example_is_refused() -> None:
    for example in (None, (), (np.zeros(3),)):
        with pytest.raises(BadInput, match="example tensors to export the module with"):
            load(_network(), example=example)


def test_a_module_that_cannot_be_exported_is_refused() -> None:
    class Undecided(torch.nn.Module):
        def forward(self, x):  # type: ignore[no-untyped-def]
            return x if x.sum() > 0 else x.numpy()

    with pytest.raises(BadInput, match=r"torch\.onnx\.export can export") as refusal:
        load(Undecided(), example=(torch.zeros(2, 2),))
    assert "\x1b" not in str(refusal.value)

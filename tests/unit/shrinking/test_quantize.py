from __future__ import annotations

import logging
import os
import tempfile
from collections import UserDict
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.graphs import LABELS_KEY, PREPARATION_KEY, Model, load, to_bytes
from edgewise.shrinking import Quantize, quantize
from strategies import onnx_file
from unit.planning import small_networks as small

pytestmark = pytest.mark.engine


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def _feeds(count: int = 4):
    return [sample.feeds for sample in small.pictures(count, 1).calibrate]


def test_int8_is_smaller_and_nearly_the_same() -> None:
    model = small.conv_net()
    int8, step = quantize(model, _feeds())
    with open_engine(to_bytes(model)) as before, open_engine(to_bytes(int8)) as after:
        old, new = before.run(_feeds()[0])["logits"], after.run(_feeds()[0])["logits"]
    assert step == Quantize(examples=4)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in int8.ir.graph}
    assert int8.weight_bytes < model.weight_bytes
    assert np.abs(new - old).max() < 0.1 * np.abs(old).max()
    assert not np.array_equal(new, old)


def test_the_original_is_not_changed() -> None:
    model = small.conv_net()
    before = to_bytes(model)
    int8, _ = quantize(model, _feeds())
    assert to_bytes(model) == before
    assert (int8.inputs, int8.outputs, int8.opset) == (model.inputs, model.outputs, model.opset)


def test_the_same_examples_give_the_same_network() -> None:
    model = small.conv_net()
    assert quantize(model, _feeds())[0].digest == quantize(model, iter(_feeds()))[0].digest


def test_metadata_and_name_are_kept() -> None:
    int8, _ = quantize(small.conv_net(name="cats"), _feeds())
    assert set(int8.metadata) == {PREPARATION_KEY, LABELS_KEY}
    assert int8.name == "cats-int8"


def test_a_network_without_metadata() -> None:
    int8, _ = quantize(small.conv_net(metadata=False), _feeds())
    assert dict(int8.metadata) == {}


def test_several_inputs_and_a_fixed_batch() -> None:
    model = small.masked_net(batch=1)
    feeds = [sample.feeds for sample in small.arrays(model).calibrate]
    int8, _ = quantize(model, feeds)
    assert [spec.name for spec in int8.inputs] == ["x", "mask"]


def test_no_temporary_file_stays_and_nothing_is_printed(
    temporary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    quantize(small.conv_net(), _feeds())
    assert os.listdir(temporary) == []
    assert capfd.readouterr() == ("", "")


def test_logging_is_as_before(caplog: pytest.LogCaptureFixture) -> None:
    root, library = logging.getLogger(), logging.getLogger("onnxruntime")

    def state():
        return [
            (log.level, list(log.handlers), list(log.filters), log.propagate)
            for log in (root, library)
        ]

    before = state()
    quantize(small.conv_net(), _feeds())
    assert state() == before
    assert caplog.records == []


def _convolution(kind: int, dtype: str) -> Model:
    """Its bias is an input, which the quantizer warns of."""
    return load(
        onnx_file(
            [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
            inputs=[("x", kind, (1, 3, 8, 8)), ("b", kind, (4,))],
            outputs=[("y", kind, (1, 4, 6, 6))],
            weights={"w": np.ones((4, 3, 3, 3), dtype)},
        )
    )


def _ones(model: Model):
    return {spec.name: np.ones(spec.concrete(), spec.dtype) for spec in model.inputs}


def test_advice_is_not_shown(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    model = _convolution(TensorProto.FLOAT, "float32")
    int8, _ = quantize(model, [_ones(model)])
    assert "QuantizeLinear" in {node.op_type for node in int8.ir.graph}
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


def test_no_handler_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    model, root = _convolution(TensorProto.FLOAT, "float32"), logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])  # as in a process that has set nothing up
    quantize(model, [_ones(model)])
    assert root.handlers == []


def test_what_no_kernel_computes_is_one_line_and_no_traceback(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    model = _convolution(TensorProto.DOUBLE, "float64")
    with pytest.raises(BadInput, match="Could not find an implementation for Conv"):
        quantize(model, [_ones(model)])
    assert caplog.messages == []
    assert capfd.readouterr() == ("", "")


def test_other_messages_are_still_heard(caplog: pytest.LogCaptureFixture) -> None:
    class Talking(UserDict):  # a mapping that is read while the quantizer runs
        def __getitem__(self, key: str) -> np.ndarray:
            logging.getLogger("somebody").warning("else")
            return super().__getitem__(key)

    quantize(small.conv_net(), [Talking(_feeds(1)[0])])
    assert set(caplog.messages) == {"else"}


def test_without_examples_it_is_refused() -> None:
    with pytest.raises(BadInput) as caught:
        quantize(small.conv_net(), [])
    assert str(caught.value) == (
        "expected examples to calibrate with, found none; pass --data DIR"
    )


def test_what_the_quantizer_refuses_is_one_line(
    temporary: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput) as caught:
        quantize(small.conv_net(), [{"another": np.zeros((1, 2), np.float32)}])
    text = str(caught.value)
    assert text.startswith("expected a network that onnxruntime's quantizer accepts, found ")
    assert text.endswith("; go on without an INT8 variant")
    assert "\n" not in text
    assert str(temporary) not in text
    assert os.listdir(temporary) == []
    assert capfd.readouterr() == ("", "")

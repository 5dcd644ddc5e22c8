"""The door to onnxruntime, on real networks of a few nodes."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.engines import EmulatedEngine, OnnxRuntimeEngine, Optimisation, Pace, open_engine
from edgewise.errors import BadInput

pytestmark = pytest.mark.engine


def network(nodes, inputs, outputs, initialisers=()):
    def values(specs):
        return [helper.make_tensor_value_info(*spec) for spec in specs]

    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), list(initialisers))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


@pytest.fixture
def doubling():
    """y = x + x, for any number of rows of two."""
    return network(
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [("x", TensorProto.FLOAT, ["N", 2])],
        [("y", TensorProto.FLOAT, ["N", 2])],
    )


@pytest.fixture
def adding():
    """y = a + b, whose numbers of rows must go together."""
    return network(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [("a", TensorProto.FLOAT, ["N", 2]), ("b", TensorProto.FLOAT, ["M", 2])],
        [("y", TensorProto.FLOAT, ["N", 2])],
    )


ROW = np.array([[1, 2]], np.float32)


def refusal_of(engine, feeds):
    with pytest.raises(BadInput) as refusal:
        engine.run(feeds)
    return str(refusal.value)


@pytest.mark.parametrize("optimisation", list(Optimisation))
def test_every_level_computes_the_same(doubling, optimisation):
    with open_engine(doubling, optimisation=optimisation) as engine:
        np.testing.assert_array_equal(engine.run({"x": ROW})["y"], 2 * ROW)
        assert engine.optimisation is optimisation


def test_a_path_and_its_bytes_are_one_network(tmp_path, doubling):
    (tmp_path / "m.onnx").write_bytes(doubling)
    with open_engine(tmp_path / "m.onnx") as engine:
        np.testing.assert_array_equal(engine.run({"x": ROW})["y"], 2 * ROW)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_are_stated_and_are_those_of_the_session(doubling, threads):
    with OnnxRuntimeEngine(doubling, threads=threads) as engine:
        assert engine.threads == threads
        assert engine._session.get_session_options().intra_op_num_threads == threads
        assert engine._session.get_session_options().inter_op_num_threads == 1


def test_one_thread_unless_said(doubling):
    with open_engine(doubling) as engine:
        assert engine.threads == 1


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(doubling, threads):
    with pytest.raises(BadInput) as refusal:
        open_engine(doubling, threads=threads)
    assert str(refusal.value) == (f"expected at least 1 thread, found {threads}; state how many")


@pytest.mark.parametrize("threads", [1025, 10**22])
def test_more_threads_than_anybody_has_are_refused(doubling, threads):
    with pytest.raises(BadInput, match=f"expected at most 1024 threads, found {threads}; more"):
        open_engine(doubling, threads=threads)


def test_says_what_it_takes_and_gives(doubling):
    with open_engine(doubling) as engine:
        assert list(map(str, engine.inputs)) == ["x float32[N, 2]"]
        assert list(map(str, engine.outputs)) == ["y float32[N, 2]"]


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "expected the inputs x, found none; name each input as the model does"),
        ({"z": ROW}, "expected the inputs x, found z; name each input as the model does"),
        ({"x": ROW, "z": ROW}, "expected the inputs x, found x, z; name each input as the"),
        ({"x": ROW.astype(np.float64)}, "expected float32[N, 2] for the input 'x', found float64"),
        ({"x": ROW.T}, "expected float32[N, 2] for the input 'x', found float32[2, 1]; convert"),
        ({"x": ROW[0]}, "expected float32[N, 2] for the input 'x', found float32[2]; convert"),
        ({"x": ROW[:0]}, "expected float32[N, 2] for the input 'x', found float32[0, 2]; con"),
        ({"x": ROW * np.nan}, "expected finite numbers in the input 'x', found NaN or infinity"),
    ],
)
def test_feeds_that_do_not_fit_are_refused(doubling, feeds, message):
    with open_engine(doubling) as engine:
        assert refusal_of(engine, feeds).startswith(message)


def test_symbolic_sizes_that_do_not_go_together_are_refused(adding):
    feeds = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((3, 2), np.float32)}
    with open_engine(adding) as engine:
        message = refusal_of(engine, feeds)
    assert message.startswith("expected inputs that the network can compute with, found ")
    assert message.endswith("; check the sizes of the symbolic axes")
    assert "\n" not in message


def test_a_closed_engine_says_so(doubling):
    with open_engine(doubling) as engine:
        pass
    assert refusal_of(engine, {"x": ROW}) == (
        "expected an open engine, found a closed one; open it again"
    )


@pytest.mark.parametrize(
    "array",
    [
        pytest.param(ROW.astype(">f4"), id="big-endian"),
        pytest.param(np.repeat(ROW, 2, axis=1)[:, ::2], id="strided"),
        pytest.param(ROW[:, ::-1][:, ::-1], id="reversed"),
        pytest.param(
            np.frombuffer(b"?" + ROW.tobytes(), np.float32, offset=1).reshape(1, 2),
            id="unaligned and read-only",
        ),
    ],
)
def test_the_layout_in_memory_does_not_matter(doubling, array):
    with open_engine(doubling) as engine:
        np.testing.assert_array_equal(engine.run({"x": array})["y"], 2 * ROW)


@pytest.mark.parametrize(
    "model", [b"", b"not ONNX", pytest.param("no.onnx", id="nowhere"), pytest.param("", id="dir")]
)
def test_what_is_no_network_is_refused(tmp_path, model):
    with pytest.raises(BadInput) as refusal:
        open_engine(model if isinstance(model, bytes) else tmp_path / model)
    message = str(refusal.value)
    assert message.startswith("expected a network that onnxruntime can load, found [ONNX")
    assert message.endswith("; check the file with: edgewise inspect MODEL")
    assert "\n" not in message


def test_a_network_cut_short_is_refused(doubling):
    with pytest.raises(BadInput, match="expected a network that onnxruntime can load, found"):
        open_engine(doubling[:-4])


def test_an_opset_from_the_future_is_refused():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 999)], ir_version=8)
    with pytest.raises(BadInput, match="expected a network that onnxruntime can load, found"):
        open_engine(model.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (TensorProto.STRING, [1], "expected tensor 'x' of one of the types bool, "),
        (TensorProto.FLOAT, [0], "expected tensor 'x' with axes of at least 1, found axis 0 of"),
    ],
)
def test_tensors_that_cannot_cross_the_wire_are_refused(kind, shape, message):
    model = network(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, shape)]
    )
    with pytest.raises(BadInput) as refusal:
        open_engine(model)
    assert str(refusal.value).startswith(message)


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "{folder}/weights.bin"])
@pytest.mark.parametrize("optimisation", list(Optimisation))
def test_bytes_cannot_name_files_as_their_weights(tmp_path, monkeypatch, location, optimisation):
    (tmp_path / "sub").mkdir()
    for folder in (tmp_path, tmp_path / "sub"):
        (folder / "weights.bin").write_bytes(np.float32(7).tobytes())
    monkeypatch.chdir(tmp_path / "sub")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", location.format(folder=tmp_path)
    model = network(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [("x", TensorProto.FLOAT, [1])],
        [("y", TensorProto.FLOAT, [1])],
        [weights],
    )
    assert os.path.exists("weights.bin")
    with pytest.raises(BadInput, match="expected a network that onnxruntime can load, found"):
        open_engine(model, optimisation=optimisation)


class Slow:
    """A clock that only an engine's work and sleep move."""

    def __init__(self, work_s):
        self.now_s = 100.0
        self.work_s = work_s
        self.slept_s = []
        self.closed = False

    inputs = outputs = ()

    def clock(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept_s.append(seconds)
        self.now_s += seconds

    def run(self, feeds):
        self.now_s += self.work_s
        return dict(feeds)

    def close(self):
        self.closed = True


@pytest.mark.parametrize(("slowdown", "slept_s"), [(1.0, []), (1.5, [0.125]), (8.0, [1.75])])
def test_emulation_sleeps_for_the_rest_of_the_slower_run(slowdown, slept_s):
    slow = Slow(work_s=0.25)
    pace = Pace(slowdown=slowdown, clock=slow.clock, sleep=slow.sleep)
    engine = EmulatedEngine(slow, pace)
    assert engine.run({"x": ROW})["x"] is ROW
    assert slow.slept_s == slept_s
    assert slow.now_s == 100.0 + 0.25 * slowdown
    engine.close()
    assert slow.closed


def test_emulation_changes_no_answer(doubling):
    with open_engine(doubling) as real:
        engine = EmulatedEngine(real, Pace(slowdown=2.0))
        assert (engine.inputs, engine.outputs) == (real.inputs, real.outputs)
        np.testing.assert_array_equal(engine.run({"x": ROW})["y"], 2 * ROW)


@pytest.mark.parametrize("slowdown", [0.5, 0.0, -1.0, np.nan, np.inf])
def test_sleeping_makes_nothing_faster(slowdown):
    with pytest.raises(BadInput) as refusal:
        Pace(slowdown=slowdown)
    assert str(refusal.value) == (
        f"expected a finite slowdown of at least 1 to emulate, found {slowdown}; "
        "run on a faster machine, or emulate a slower device"
    )

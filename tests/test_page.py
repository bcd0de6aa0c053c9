import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import shared_core as fake
from shared_core import BASE, EXTRA, NOTHING, OURS, save

from reprolib import page, studies, wording
from reprolib.errors import UserError
from reprolib.paths import ROOT
from reprolib.report import fact
from reprolib.statistics import Effect
from reprolib.store import RunStore
from reprolib.study import Study


@pytest.fixture
def html(monkeypatch):
    """Everything that a page displays."""
    shown: list[str] = []
    monkeypatch.setattr(page, "display", lambda thing: shown.append(thing.data))
    return shown


def cells(table: str) -> list[list[str]]:
    """The text of an HTML table, line by line."""
    lines = re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    return [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line, re.DOTALL) for line in lines]


def opened(study, store) -> page.Page:
    return page.Page(study, study.Parameters(profile="cpu"), store)


def run_all(study, store, *, gain=8.0, **how):
    save(store, study, NOTHING, validation=50.0, **how)
    save(store, study, BASE, spread=0.0, **how)
    save(store, study, OURS, iou=60.0 + gain, **how)


@pytest.fixture
def core(tmp_path, monkeypatch):
    return fake.make(tmp_path, monkeypatch), RunStore(tmp_path / "results")


def test_findings_come_from_the_most_trusted_data_that_could_test_a_claim(core, html):
    study, store = core
    run_all(study, store, data="synthetic")
    run_all(study, store, data="public", gain=-3.0)
    save(store, study, BASE, data="paper")  # a record, but no test
    opened(study, store).findings("larger")
    assert html == [
        '<p class="findings">“Ours is better”: <strong>the opposite is found</strong> on other real data. '
        "Ours: −3.00 points (95 % interval −3.98 to −2.02; 5 seeds, 12 test units); the paper: +10 points. "
        "1 of 1 primary claims could be tested: 1 opposite.</p>"
    ]


def test_findings_describe_a_tested_claim_where_none_of_the_named_ones_is(tmp_path, monkeypatch, html):
    untested = {"id": "holes", "statement": "Holes close.", "a": EXTRA}
    study, store = fake.make(tmp_path, monkeypatch, {}, untested), RunStore(tmp_path / "results")
    run_all(study, store)
    opened(study, store).findings("holes")
    assert html[0].startswith(
        '<p class="findings">“Ours is better”: <strong>reproduced</strong> on rendered data. Ours: '
    )
    assert html[0].endswith(
        "1 of 2 primary claims could be tested: 1 reproduced. "
        "For the others, rows were not run or do not pass the gates below.</p>"
    )


def test_findings_of_nothing_say_so(core, html):
    opened(*core).findings("larger")
    assert html == [
        '<p class="findings">None of the 1 primary claims can be tested yet: the rows that they compare were not run, '
        "or do not pass the gates below.</p>"
    ]


def test_the_headline_shows_published_and_own_effects_as_shares_of_the_reference_rows_error(core, monkeypatch, html):
    study, store = core
    run_all(study, store)
    figures = []
    monkeypatch.setattr(page, "show_figure", lambda figure, **how: figures.append((figure, how)))
    opened(study, store).headline()
    [(figure, how)] = figures
    assert (how["watermark"], how["path"].name) == (False, "headline-cpu.svg")
    ends = [np.asarray(line.get_xdata(), float) for line in figure.axes[0].lines]
    assert any(x == pytest.approx([100 * 10 / 39.5]) for x in ends)  # the paper's
    assert any(x == pytest.approx([100 * 8 / 40]) for x in ends)  # ours
    assert any(len(x) == 2 and x == pytest.approx([100 * 7.018 / 40, 100 * 8.982 / 40], abs=0.01) for x in ends)


def test_the_most_trusted_table_is_open_and_the_others_are_folded(core, html):
    study, store = core
    run_all(study, store, data="synthetic")
    run_all(study, store, data="paper")
    opened(study, store).table("table 1")
    first, second = html
    assert first.startswith('<figure class="results">')
    assert "Table 1. Both rows. Data: paper; profile: cpu; seeds: 5; device: a CPU; made from 11 records." in first
    assert "Not from the paper&#x27;s text: Ours (holes): release." in first
    command = 'reprolib run fake2020 --profile cpu --data paper --data-root DATA --tables "table 1"'
    assert f"<code>python -m {command}</code>" in first
    assert second.startswith("<details><summary>Rendered data</summary>")
    saved = pd.read_csv(store.root / "tables" / "fake2020-table-1-paper-cpu.csv", header=[0, 1], index_col=0)
    assert saved.loc[OURS, ("IoU", "ours")] == "68.0 ± 0.8"


def test_a_figure_is_shown_of_the_most_trusted_data_that_have_it(core, monkeypatch, html):
    study, store = core
    for data in ("synthetic", "public", "paper"):
        save(store, study, BASE, data=data)

    drawings = {}

    def drawn(results, parameters):
        drawings[parameters.data] = {"figure 1": plt.figure()} if parameters.data != "paper" else {}
        return drawings[parameters.data]

    fake.register(monkeypatch, ".figures", drawn=drawn)
    shown = []
    monkeypatch.setattr(page, "show_figure", lambda figure, **how: shown.append((figure, how["path"].name)))
    made = opened(study, store)
    made.figure("figure 1", "figure 1", "Figure 1.")
    made.figure("figure 2", "figure 2", "Figure 2.")
    assert shown == [(drawings["public"]["figure 1"], "figure-1-public-cpu.png")]
    # a notebook shows open figures at the end of a cell, wherever they belong
    assert not plt.fignum_exists(drawings["public"]["figure 1"].number)
    assert "Figure 1. Data: public; profile: cpu" in html[0]
    assert html[1] == "<p><em>Figure 2. Not run: no record of its rows.</em></p>"


def test_figures_of_one_data_source_may_come_from_different_profiles(core, monkeypatch, html):
    study, store = core
    save(store, study, EXTRA, profile="gpu")
    save(store, study, OURS, profile="cpu")
    names = {"gpu": "figure 1", "cpu": "figure 2"}
    fake.register(monkeypatch, ".figures", drawn=lambda results, p: {names[p.profile]: plt.figure()})
    shown = []
    monkeypatch.setattr(page, "show_figure", lambda figure, **how: shown.append(how["path"].name))
    made = opened(study, store)
    made.figure("figure 1", "extra A", "Figure 1.")
    made.figure("figure 2", "table 2", "Figure 2.")
    assert shown == ["figure-1-synthetic-gpu.png", "figure-2-synthetic-cpu.png"]


def test_sentences_stand_for_each_data_source_that_has_one(core, html):
    study, store = core
    for data in ("synthetic", "public", "paper"):
        save(store, study, BASE, data=data)
    opened(study, store).sentences(lambda results, p: "" if p.data == "public" else f"Said of {p.data}.")
    assert html == [
        "<p>The paper's own data. Said of paper.</p>",
        "<p>Rendered data. Said of synthetic.</p>",
    ]


def test_answers_of_claims_and_questions_are_one_sentence_per_data_source(tmp_path, monkeypatch, html):
    study = fake.make(tmp_path, monkeypatch, {}, {"id": "why", "kind": "question", "statement": "Why?", "primary": ""})
    store = RunStore(tmp_path / "results")
    opened(study, store).answer("why")
    assert html.pop() == "<ul><li>Why? Not run.</li></ul>"
    run_all(study, store)
    opened(study, store).answer("larger", "why")
    assert html.pop() == (
        "<ul><li>“Ours is better”: <strong>reproduced</strong> on rendered data. Ours: +8.00 points "
        "(95 % interval +7.02 to +8.98; 5 seeds, 12 test units); the paper: +10 points.</li>"
        "<li>Why? Rendered data: +8.00 points (95 % interval +7.02 to +8.98; 5 seeds, 12 test units).</li></ul>"
    )
    opened(study, store).questions()
    assert "What the paper leaves open" in html[0] and "Why?" in html[0] and "Ours is better" not in html[0]


def test_all_claims_are_folded_and_saved_with_both_verdicts(core, html):
    study, store = core
    opened(study, store).claims()
    assert html.pop().startswith("<details><summary>All claims on rendered data</summary>")
    run_all(study, store)
    opened(study, store).claims()
    saved = pd.read_csv(store.root / "tables" / "fake2020-claims-synthetic-cpu.csv", index_col=0)
    line = saved.loc["Ours is better."]
    assert (line["verdict"], line["after Holm"], line["primary"]) == ("reproduced", "reproduced", "yes")
    assert (line["detectable"], line["paper"]) == (1.31, "+10 points")


def test_gates_show_validation_scores_best_epochs_and_convergence(core, html):
    study, store = core
    run_all(study, store)
    save(store, study, EXTRA, converged=False, validation=71.5)
    opened(study, store).gates()
    header, *lines = cells(html[0])
    assert header == ["", "seeds", "validation score", "best trivial", "best epoch", "converged", "minutes per seed"]
    assert lines == [
        [NOTHING, "1", "50.0", "50.0", "—", "—", "1.0"],
        [BASE, "5", "80.0", "50.0", "3–3 of 10", "yes", "1.0"],
        [OURS, "5", "80.0", "50.0", "3–3 of 10", "yes", "1.0"],
        [EXTRA, "5", "71.5", "50.0", "3–3 of 10", "no", "1.0"],
    ]


def test_rows_that_were_not_run_are_named_below_the_gates(core, html):
    study, store = core
    save(store, study, BASE)
    opened(study, store).gates()
    assert f"Not run on rendered data (cpu): {NOTHING}; " in html[0]


def test_the_report_card_has_two_texts_and_what_the_records_say(core, html):
    study, store = core
    opened(study, store).report_card(easy="The loss.", difficult="The data.")
    assert "No trial is recorded." in html.pop()
    save(store, study, BASE)
    save(store, study, OURS)
    opened(study, store).report_card(easy="The loss.", difficult="The data.")
    [card] = html
    assert card.startswith("<details><summary>Report card</summary>")
    assert "<dt>What was easy</dt><dd>The loss.</dd><dt>What was difficult</dt><dd>The data.</dd>" in card
    assert "Rows run on rendered data (cpu): 2 of 5. Rows quoted from the paper and not trained: 1." in card
    assert "<dd>0.2 core-hours on a CPU (10 trials).</dd>" in card
    assert "<dt>Communication with the authors</dt><dd>None.</dd>" in card


def test_a_figure_carries_its_description(tmp_path, html):
    for suffix, kind in ((".svg", "svg+xml"), (".png", "jpeg")):
        figure, _ = plt.subplots(figsize=(4, 3))
        page.show_figure(figure, path=tmp_path / f"a{suffix}", watermark=False, alt='A "figure".')
        image = html.pop()
        assert image.startswith(f'<img src="data:image/{kind};base64,')
        assert image.endswith('" alt="A &quot;figure&quot;.">')


def test_a_wide_figure_has_a_frame_to_scroll_in(tmp_path, html):
    figure, _ = plt.subplots(figsize=(9, 3))
    page.show_figure(figure, path=tmp_path / "a.svg", watermark=False, alt="Wide.")
    assert html.pop().startswith('<div class="frame wide" tabindex="0" role="region" aria-label="Wide."><img ')


def test_the_rates_that_were_tried_are_shown(core, html):
    study, store = core
    opened(study, store).tuning()
    assert "No learning rate was tuned" in html.pop()
    lines = [f"synthetic,facesynth,cpu,Base,{tried}" for tried in ("0.1,4,0,60.0,cpu,a", "0.2,4,0,70.456,cpu,b")]
    lines.append("synthetic,facesynth,gpu,Base,0.1,20,0,65.0,cuda,c")
    header = "data,dataset,profile,row,lr,epochs,seed,validation,device,key"
    (study.folder / study.ID / "tuning.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    opened(study, store).tuning()
    assert cells(html[0]) == [
        ["", "0.1", "0.2"], ["Base (synthetic, cpu)", "60.0", "70.46"], ["Base (synthetic, gpu)", "65.0", "—"],
    ]  # fmt: skip


def test_only_numbers_of_the_paper_or_its_release_are_counted_as_met(tmp_path, monkeypatch, html):
    facts = [
        fact("fake2020", "layers", "5", 5), fact("fake2020", "GMAC", "7.0", 8.0, source="release"),
        fact("fake2020", "receptive field", "9", 9, source="arithmetic"),
    ]  # fmt: skip
    study = fake.make(tmp_path, monkeypatch, experiment={"facts": lambda: facts})
    opened(study, RunStore(tmp_path / "results")).facts()
    assert html[0] == "<p>1 of 2 numbers of the paper or its release are met exactly.</p>"
    assert "GMAC" in html[1] and "layers" not in html[1]
    assert html[2].startswith("<details><summary>All 3</summary>") and "receptive field" in html[2]


def test_a_row_is_shown_in_every_profile_and_quoted_rows_with_their_reasons(core, html):
    made = opened(*core)
    made.sizes(OURS, data="paper")
    header, *lines = cells(html.pop())
    assert header == ["", "smoke", "cpu", "gpu"]
    assert ["dataset", "own", "own", "own"] in lines and ["training lr", "0.1", "0.1", "0.1"] in lines
    made.quoted()
    assert "1 quoted rows" in html[0] and "quoted: no code" in html[0]


def test_a_page_is_opened_without_training_and_with_checked_parameters(core, tmp_path, monkeypatch):
    study, _ = core
    monkeypatch.setattr(studies, "store_of", lambda parameters: RunStore(tmp_path / "results"))
    made = page.open_study(fake.ID, train=False, profile="cpu")
    assert (made.study, made.sources) == (study, [study.Parameters(profile="cpu")])
    with pytest.raises(UserError, match="Unknown parameter 'sede'; did you mean 'seeds'"):
        page.open_study(fake.ID, train=False, sede=3)


@pytest.mark.parametrize("name", studies.STUDIES)
def test_everything_that_a_notebook_asks_for_is_known_to_its_study(name, tmp_path):
    study = studies.load(name)
    source = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")

    def asked(calls: str) -> list[list[str]]:
        found = re.findall(rf"shown\.(?:{calls})\((.*?)\)", source, re.DOTALL)
        return [re.findall(r'"([^"]+)"', words) for words in found]

    if isinstance(study, Study):
        known = {claim.id for claim in study.registered_claims}
        assert {id for ids in asked("answer|findings") for id in ids} <= known
        measured = {table.place for table in study.declared_tables if table.columns}
        assert {words[0] for words in asked("table")} == measured
        return
    assert asked("answers")
    for ids in asked("answers"):
        lines = study.answers(study.Parameters(), RunStore(tmp_path), ids)
        assert len(lines) == len(ids)
        assert all("Not done" in line for line in lines)


def test_a_table_without_a_record_is_to_be_made_on_the_most_trusted_data(core, html):
    shown = opened(*core)
    shown.table("table 2")
    assert "Not run" in html[-1] and "--data paper" in html[-1]
    assert not (shown.store.root / "tables").exists()  # the paper's numbers alone are in published.csv


def test_a_rounded_zero_has_no_minus():
    effect = Effect(point=-0.001, low=-0.004, high=0.2, se=0.1, df=2.0, seeds=3, units=30, detectable=0.3)
    assert wording.effect_in_words(effect, "points").startswith("+0.00 points (95 % interval +0.00 to +0.20")

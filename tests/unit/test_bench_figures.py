"""Figures of the benchmark: percentiles, ratios of pairs, goals, and the tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bench import goals, plot, report
from tests.bench.__main__ import numbers, parser
from tests.bench.figures import Measured, Spread, column, percentile, ratios, spread, summary
from tests.bench.scenarios import Turn

ABOUT = {
    "build": "abc1234",
    "baseline": "",
    "machine": {"processor": "P", "cores": 2, "memory MiB": 100, "kernel": "6"},
    "generator": {"creations/s": 300, "share of a processor": 0.5},
}


def turn(whose: str, number: int = 0, name: str = "burst-200", **figures: float) -> Turn:
    """A turn with these figures; `_` stands for a space in their names."""
    measured = Measured({k.replace("_", " "): v for k, v in figures.items()}, {"create pods 201": 200})
    return Turn(name, name.replace("-", " of "), number, whose, measured, standing=1000)


def document(*turns: Turn) -> dict[str, Any]:
    """What is written of these turns, read again."""
    found: dict[str, Any] = json.loads(json.dumps(report.document(ABOUT, turns)))
    return found


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.51, 3), (0.75, 3), (0.99, 4), (1, 4), (0, 1)], ids=str)
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([4, 1, 3, 2], share) == expected


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    assert spread([]) is None


def test_a_ratio_is_taken_within_a_round_and_only_where_both_are() -> None:
    rounds = [
        {"floor": {"figures": {"x": 100.0}}, "sandmount": {"figures": {"x": 50.0}}},
        {"floor": {"figures": {"x": 10.0}}, "sandmount": {"figures": {"x": 8.0}}},
        {"floor": {"figures": {"x": 10.0}}},
        {"floor": {"figures": {"x": 0.0}}, "sandmount": {"figures": {"x": 8.0}}},
    ]
    assert ratios(rounds, "sandmount", "floor", "x") == Spread(0.5, 0.65, 0.8, 2)
    assert ratios(rounds, "baseline", "floor", "x") is None
    assert column(rounds, "sandmount", "x") == [50, 8, 8]


def test_the_summary_has_medians_and_ratios_of_whoever_took_part() -> None:
    found = document(turn("floor", x=10), turn("sandmount", x=20), turn("baseline", x=40))
    row = found["scenarios"]["burst-200"]["summary"]["x"]
    assert row["floor"]["middle"] == 10
    assert row["sandmount/floor"]["middle"] == 2
    assert row["sandmount/baseline"]["middle"] == 0.5
    assert "baseline" not in summary([{"floor": {"figures": {"x": 1.0}}}])["x"]


def test_a_goal_is_judged_by_the_ratio_to_the_floor_of_the_same_round() -> None:
    scenarios = document(
        turn("floor", per_second=100), turn("sandmount", per_second=70),
        turn("floor", 1, per_second=50), turn("sandmount", 1, per_second=40),
    )["scenarios"]  # fmt: skip
    assert list(goals.judged(scenarios)) == [
        "met    burst of 200: per second of the floor's 0.75, goal >= 0.75",
    ]


def test_a_goal_that_is_missed_is_said_and_one_that_was_not_measured_is_not() -> None:
    scenarios = document(turn("sandmount", name="idle-5000", writes=0, cpu_share=0.02, rss_MiB=87))["scenarios"]
    assert list(goals.judged(scenarios)) == [
        "met    idle of 5000: writes 0, goal <= 0",
        "MISSED idle of 5000: cpu share 0.02, goal <= 0.01",
        "met    idle of 5000: rss MiB 87, goal <= 87.7",
    ]


def test_growth_is_judged_by_the_same_figure_of_two_sizes() -> None:
    turns = [turn("sandmount", name=f"grow-{size}", cpu_ms_object=ms) for size, ms in ((1000, 5), (10000, 7))]
    for one in turns:
        assert isinstance(one.measured.figures, dict)
        one.measured.figures["cpu ms/object"] = one.measured.figures.pop("cpu ms object")
    assert list(goals.judged(document(*turns)["scenarios"])) == [
        "MISSED CPU per Sandbox, growing to 10,000 to growing to 1,000: 1.4, goal <= 1.2"
    ]


def test_the_text_shows_each_figure_of_each_subject_and_the_spread_of_the_ratio() -> None:
    found = document(
        turn("floor", per_second=100), turn("sandmount", per_second=50),
        turn("floor", 1, per_second=100), turn("sandmount", 1, per_second=60),
    )  # fmt: skip
    lines = report.text(found).splitlines()
    line = next(line for line in lines if line.startswith("  per second"))
    assert line.split() == ["per", "second", "100", "55", "0.55", "(0.50-0.60)"]
    assert "  requests of sandmount: 200 x create pods 201" in lines
    assert not any("WARNING" in line for line in lines)


def test_the_text_warns_when_others_used_the_machine() -> None:
    assert "WARNING: others used up to 0.90" in report.text(document(turn("floor", others_share=0.9)))


def test_an_earlier_run_is_compared_figure_by_figure_with_a_warning() -> None:
    now = document(turn("floor", x=10), turn("sandmount", x=20))
    then = document(turn("floor", x=10), turn("sandmount", x=40))
    then["machine"]["cores"] = 64
    text = report.text(now, then)
    assert "another machine" in text
    assert "x 0.500" in text
    assert "another time" in report.text(now, now)


def test_what_is_written_is_whole(tmp_path: Path) -> None:
    report.write(tmp_path / "new" / "bench.json", document(turn("floor", x=1)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["bench.json"]


def test_points_of_the_plot_are_medians_at_each_size() -> None:
    found = document(
        turn("sandmount", name="next-1000", x=1),
        turn("sandmount", 1, name="next-1000", x=3),
        turn("sandmount", name="alone-next-1000", x=9),
        turn("floor", name="next-1000", x=7),
    )
    assert plot.points(found["scenarios"], "next", "x") == [(1000, 2)]
    assert plot.points(found["scenarios"], "next", "x", "floor") == [(1000, 7)]
    assert plot.points(found["scenarios"], "next", "y") == []


def test_the_command_line_takes_its_defaults_from_the_environment() -> None:
    found = parser({"BASELINE": "main", "ROUNDS": "7", "SCENARIOS": "burst"}).parse_args(["run", "--bursts", "5,6"])
    assert (found.baseline, found.rounds, found.scenarios, found.bursts) == ("main", 7, "burst", [5, 6])
    assert numbers("1 2,3") == [1, 2, 3]

"""What is drawn of the dashboard, without the run of minutes that it is drawn from."""

import json
from pathlib import Path

import pytest

from tests.dashboard import __main__ as dashboard
from tests.support import prometheus
from tests.support.prometheus import legend, panels

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "dashboard.png"


def test_a_series_is_called_what_grafana_calls_it() -> None:
    target = {"legendFormat": "{{verb}} {{ resource }} {{code}} a second"}
    assert legend(target, {"verb": "get", "resource": "pods", "code": "200"}) == "get pods 200 a second"
    assert legend(target, {}) == "   a second"


def test_panels_come_from_top_to_bottom_with_a_time_for_rates() -> None:
    found = panels(rate_over="20s")
    places = [(p["gridPos"]["y"], p["gridPos"]["x"]) for p in found]
    assert places == sorted(places) and len(places) == len(set(places))
    assert "[20s]" in json.dumps(found) and "$__rate_interval" not in json.dumps(found)


def test_nothing_is_drawn_where_there_was_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = {"metric": {"phase": "Pending"}, "values": [[100, "3"], [104, "NaN"], [106, "1.5"]]}
    monkeypatch.setattr(dashboard, "results", lambda *args, **more: [answer])
    found = dashboard.series("", {"expr": "x", "legendFormat": "{{phase}}"}, 100, 106)
    assert found == {"Pending": [(0, 3.0), (2, None), (4, None), (6, 1.5)]}


def test_every_series_on_an_axis_of_its_own_is_one_of_its_panel() -> None:
    for panel in json.loads(prometheus.DASHBOARD.read_text())["panels"]:
        own = {rule["matcher"]["options"] for rule in panel["fieldConfig"]["overrides"]}
        assert own <= {target["legendFormat"] for target in panel["targets"]}


def test_the_picture_in_the_documents_is_small() -> None:
    assert PICTURE.stat().st_size < 200_000

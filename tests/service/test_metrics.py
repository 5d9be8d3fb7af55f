"""The figures for monitoring, read back by Prometheus' own reader."""

import os
import stat

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sonic_edge.service import metrics
from sonic_edge.service.status import statuses

STATUS = {
    "version": "0.1.0",
    "pid": 7,
    "started": "2026-11-25T10:00:00+00:00",
    "up_s": 12.5,
    "state": "张三: rendering 40 %",
    "settings": {"path": "/home/lisi/box.yaml", "read": "2026-11-25T10:00:00+00:00", "error": ""},
    "job": {"id": "张三", "stage": "rendering", "done": 40, "total": 100, "percent": 40, "left_s": 3.0, "attempt": 2},
    "queue": {"waiting": 3, "names": ["李四", "wang wu"], "held": "disk full: 3 MB free"},
    "counts": {"done": 5, "failed": 1, "cancelled": 0, "worker_deaths": 2},
    "errors": [{"time": "2026-11-25T10:00:00+00:00", "what": "赵六: the worker was killed by SIGKILL"}],
    "disk": {"free_mb": 1000.5, "total_mb": 30000.0, "floor_mb": 500, "outbox_mb": 12.0, "removed": 4},
    "temperature_c": {"cpu-thermal": 51.2, 'odd "name"\\ with\nall': -3.0},
    "npu": {
        "error": "",
        "driver": "23.0.rc3",
        "chips": [
            {
                "device": 0,
                "name": "310B4",
                "health": "Alarm",
                "temperature_c": 61.0,
                "power_w": 8.5,
                "aicore_percent": 40.0,
                "memory_used_mb": 2000.0,
                "memory_total_mb": 3513.0,
            },
            {"device": 1, "name": "310B4", "health": "OK", "temperature_c": None},
        ],
    },
    "worker": {"pid": 8, "memory_mb": 350.0, "state": "ready"},
    "screen": {"state": "running", "showing": "clip", "clip": "张三.mp4", "waiting": 1, "restarts": 2, "skipped": 0},
    "live": {
        "mode": "mirror",
        "talking": True,
        "muted": False,
        "recording": False,
        "error": "",
        "microphone": {"open": True, "device": "张三's AirPods", "overruns": 3, "lost": 1},
        "mirror": {
            "shown": 250,
            "late": 1,
            "refused": 2,
            "unseen": 3,
            "latency_ms": {"total": 150.0, "model": 12.5},
            "cpu_share": 0.25,
            "skipped_s": 0.5,
            "speaker": {"open": True, "error": "", "skew_ms": -1.5, "underruns": 4},
        },
    },
}


def _text(status):
    return metrics.text(statuses.check(status))


def _write(path, status):
    return metrics.write(path, statuses.check(status))


def _read(text):
    """{(name, labels): value}, and the type of each name."""
    families = list(text_string_to_metric_families(text))
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families for s in f.samples}
    return samples, {s.name: f.type for f in families for s in f.samples}


def test_every_figure_of_a_status_is_there():
    samples, types = _read(_text(STATUS))

    def value(name, **labels):
        return samples["sonic_edge_" + name, tuple(sorted(labels.items()))]

    assert value("info", version="0.1.0") == 1
    assert value("uptime_seconds") == 12.5
    assert value("job_running") == 1
    assert value("job_progress_ratio") == pytest.approx(0.4)
    assert value("job_stage", stage="rendering") == 1 and value("job_stage", stage="thinking") == 0
    assert value("queue_jobs") == 3 and value("queue_held") == 1
    assert value("jobs_total", result="done") == 5 and value("jobs_total", result="failed") == 1
    assert value("worker_deaths_total") == 2
    assert value("recent_errors") == 1 and value("settings_refused") == 0
    assert value("disk_free_bytes") == 1000.5e6 and value("disk_floor_bytes") == 500e6
    assert value("outbox_removed_total") == 4
    assert value("temperature_celsius", sensor="cpu-thermal") == 51.2
    assert value("temperature_celsius", sensor='odd "name"\\ with\nall') == -3
    assert value("npu_answers") == 1 and value("npu_temperature_celsius", chip="0") == 61
    assert value("npu_health", chip="0", state="Alarm") == 1 and value("npu_health", chip="0", state="OK") == 0
    assert value("npu_health", chip="1", state="OK") == 1
    assert value("npu_power_watts", chip="0") == 8.5 and value("npu_aicore_ratio", chip="0") == 0.4
    assert value("npu_memory_used_bytes", chip="0") == 2000 * 2**20
    assert value("npu_memory_size_bytes", chip="0") == 3513 * 2**20
    assert ("sonic_edge_npu_temperature_celsius", (("chip", "1"),)) not in samples
    assert value("worker_running") == 1 and value("worker_memory_bytes") == 350 * 2**20
    assert value("screen_state", state="running") == 1 and value("screen_state", state="failed") == 0
    assert value("microphone_overruns_total") == 3 and value("live_talking") == 1
    assert value("mirror_dropped_total", reason="unseen") == 3
    assert value("mirror_latency_seconds", part="model") == 0.0125
    assert value("speaker_skew_seconds") == -0.0015
    assert types["sonic_edge_jobs_total"] == "counter" and types["sonic_edge_queue_jobs"] == "gauge"


def test_no_name_is_in_them():
    text = _text(STATUS)
    for name in ("张三", "李四", "赵六", "wang", "lisi", "AirPods", ".mp4"):
        assert name not in text


def test_counters_end_in_total_and_nothing_else_does():
    _, types = _read(_text(STATUS))
    assert len(types) > 30
    for name, kind in types.items():
        assert name.endswith("_total") == (kind == "counter"), name


def test_each_figure_has_help_and_type_once_and_its_samples_together():
    lines = _text(STATUS).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(set(names)) == len(names)
    current = None
    for line in lines:
        if line.startswith("# TYPE"):
            current = line.split()[2]
        elif not line.startswith("#"):
            assert line.startswith((current + " ", current + "{")), line


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"job": {}, "queue": {}, "disk": {}, "live": {}, "screen": {}, "worker": {}, "counts": {}},
        {"job": None, "queue": 3, "disk": "full", "live": [], "temperature_c": [1], "errors": None, "up_s": "long"},
        {"temperature_c": {"a": float("nan"), "b": float("inf"), "c": None}, "up_s": float("nan")},
        {"npu": {}},
        {"npu": {"error": "npu-smi said nothing", "driver": "", "chips": []}},
        {"npu": {"error": "", "chips": "none"}},
        {"live": {"mirror": {"latency_ms": 3, "speaker": None}}, "screen": {"state": "odd"}, "worker": {"pid": None}},
    ],
)
def test_figures_missing_from_the_status_are_left_out(status):
    samples, _ = _read(_text(status))
    assert ("sonic_edge_info", (("version", ""),)) in samples
    for (name, _), value in samples.items():
        assert value in (0, 1), name  # nothing is made up: flags only


def test_without_a_job_its_figures_are_absent():
    samples, _ = _read(_text({**STATUS, "job": {}}))
    assert samples["sonic_edge_job_running", ()] == 0
    assert ("sonic_edge_job_progress_ratio", ()) not in samples


def test_the_file_is_replaced_whole_and_everybody_may_read_it(tmp_path):
    path = tmp_path / "sonic-edge.prom"
    old = os.umask(0o077)
    try:
        assert _write(path, STATUS) == ""
        first = path.stat().st_ino
        assert _write(path, {**STATUS, "up_s": 99.0}) == ""
    finally:
        os.umask(old)
    assert path.stat().st_ino != first and stat.S_IMODE(path.stat().st_mode) == 0o644
    assert "uptime_seconds 99" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_remains_of_a_crash_are_no_obstacle_and_no_link_is_followed(tmp_path):
    path, target = tmp_path / "a.prom", tmp_path / "precious"
    target.write_text("keep")
    (tmp_path / ".a.prom.tmp").symlink_to(target)
    assert _write(path, STATUS) == ""
    assert target.read_text() == "keep" and not path.is_symlink()


@pytest.mark.parametrize("place", ["nowhere/a.prom", "file/a.prom", "folder"])
def test_an_unwritable_place_is_reported_without_an_error(place, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "in it").mkdir(parents=True)
    said = _write(tmp_path / place, STATUS)
    assert said.startswith(f"metrics.path = {tmp_path / place}: cannot be written: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]

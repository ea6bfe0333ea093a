import itertools

from motionstream.bench.horizon import FLAT_CHUNKS, draw, flatness, text_plot


def test_a_flat_line_is_flat_and_a_leak_is_seen():
    flat = flatness([20.0] * 1000, [300 << 20] * 1000)
    assert flat["late_over_early"] == 1
    assert flat["memory_growth_mib"] == 0
    leak = flatness([20 + 0.01 * n for n in range(1000)], [(300 << 20) + n * 4096 for n in range(1000)])
    assert 1.3 < leak["late_over_early"] < 1.5
    assert 3 < leak["memory_growth_mib"] < 4


def test_the_first_chunks_do_not_count_as_early():
    """They are shorter and cold: with them a slow start would look like a fast end."""
    assert flatness([500.0] * 40 + [20.0] * 960, [1 << 20] * 1000)["late_over_early"] == 1


def test_windows_cover_the_stream_and_stay_few():
    for total in (FLAT_CHUNKS, 1000, 10_000, 123_457):
        windows = flatness([1.0] * total, [1] * total)["windows"]
        assert windows[0]["chunks"][0] == 0
        assert total - windows[-1]["chunks"][1] < windows[0]["chunks"][1]
        assert 5 <= len(windows) <= 51
        assert all(a["chunks"][1] == b["chunks"][0] for a, b in itertools.pairwise(windows))


def test_short_streams_say_nothing():
    assert flatness([1.0] * (FLAT_CHUNKS - 1), [1] * (FLAT_CHUNKS - 1)) == {}


def test_a_slow_window_stands_out():
    report = flatness([20.0] * 500 + [40.0] * 50 + [20.0] * 450, [1] * 1000)
    slow = [window for window in report["windows"] if window["p50_ms"] > 30]
    assert [window["chunks"] for window in slow] == [[500, 550]]
    lines = text_plot(report["windows"]).splitlines()
    assert max(lines, key=lambda line: line.count("#")).startswith("  500-550")


def test_the_picture_is_a_png_or_absent_without_matplotlib(tmp_path, monkeypatch):
    report = flatness([20.0] * 400, [1 << 28] * 400) | {
        "preset": "nano", "setting": "c3s1w1", "chunks": 400, "hardware": "a processor",
    }  # fmt: skip
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert draw(report, tmp_path / "absent.png") is None
    monkeypatch.undo()
    made = draw(report, tmp_path / "deep" / "flat.png")
    if made is not None:
        assert made.read_bytes().startswith(b"\x89PNG")

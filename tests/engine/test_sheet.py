import cv2
import numpy as np
import pytest

from sonic_edge.engine.sheet import MotionChooser, PictureChooser, Sheet
from sonic_edge.engine.sheet import page as page_module
from sonic_edge.engine.sheet.moments import close_ups, moments, mouth_part
from sonic_edge.engine.sheet.strip import Track, draw_strip, relative, spread, tick_step
from sonic_edge.errors import DeviceError
from sonic_edge.media import CHANNELS, Motion, Portrait

FPS = 25.0


def motion(n, **channels):
    """n frames at rest, but for channels given as {frame: value}."""
    values = np.zeros((n, len(CHANNELS)), np.float32)
    for name, moments_of_it in channels.items():
        for index, value in moments_of_it.items():
            values[index, list(CHANNELS).index(name)] = value
    return Motion(tuple(CHANNELS), values, FPS)


def portrait(width=256, height=256):
    """A face in the middle, eyes a fifth of the short side apart; only the points that are asked for."""
    middle, unit = np.array([width / 2, height / 2]), min(width, height) / 5
    landmarks = np.zeros((468, 3), np.float32)
    landmarks[:, :2] = middle
    landmarks[[33, 133], :2] = middle - [unit / 2, unit]
    landmarks[[362, 263], :2] = middle - [-unit / 2, unit]
    return Portrait(np.zeros((height, width, 3), np.uint8), landmarks)


def shade(index):
    """A grey that tells which frame it is."""
    return 10 + 8 * (index % 30)


def frames(face, n):
    for i in range(n):
        yield np.full_like(face.image, shade(i))


def sheet_of(path, face, moves, level=None):
    n_level = int(len(moves) / FPS * 100) + 1
    made = Sheet(
        path, face, MotionChooser(face, moves), np.zeros(n_level, np.float32) if level is None else level, 100.0, 0.0
    )
    for _ in made.watch(frames(face, len(moves))):
        pass
    return made


def shades(page):
    """The greys of even pictures on a page, in the order of rows, then columns."""
    found = []
    for value in range(10, 250, 8):
        mask = np.all(page == value, axis=2).astype(np.uint8)
        count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for x, y, width, height, area in stats[1:count]:
            if width > 40 and height > 40 and area == width * height:
                found.append((y, x, value))
    return [value for _, _, value in sorted(found)]


# ---- which moments -----------------------------------------------------------------------------------------------


def test_the_moments_are_where_the_face_goes_furthest():
    moves = motion(
        100,
        jaw={10: 0.9, 48: 0.5, 52: 0.5, 70: 0.3},
        round={20: 0.8, 21: 0.7},
        close={50: 1.0, 90: 1.0},
        width={30: 0.6, 40: -0.9},
        blink={60: 0.95},
        yaw={75: 0.1, 80: -0.2},
        pitch={80: 0.1},
    )
    reported = [(m.what, m.index, m.value) for m in moments(moves)]
    assert reported == [
        ("widest opening", 10, "jaw 0.90"),
        ("rounded", 20, "round 0.80"),
        ("shut", 50, "close 1.00"),
        ("smiling", 30, "width 0.60"),
        ("blinking", 60, "blink 0.95"),
        ("turned", 80, "yaw -11 pitch +6 roll +0 deg"),
    ]


def test_shut_is_while_speaking_if_it_ever_is():
    at_rest = dict.fromkeys(range(20), 1.0)
    moves = motion(100, close={**at_rest, 60: 0.95}, jaw={57: 0.4, 63: 0.6})
    assert moments(moves)[2].index == 60
    assert moments(motion(100, close=at_rest))[2].index < 20


def test_what_does_not_happen_is_not_claimed():
    reported = [m.what for m in moments(motion(50, blink={7: 0.3}, width={9: -0.5}, close={3: 0.2}))]
    assert reported == [
        *("never open", "never rounded", "never shut by speech"),
        *("never smiling", "never blinking", "never turned"),
    ]


def test_a_model_may_leave_channels_out():
    bare = Motion(("jaw",), np.array([[0.1], [0.7], [0.2]], np.float32), FPS)
    assert moments(bare)[0].index == 1
    assert mouth_part(portrait(), bare, 0) == mouth_part(portrait(), motion(3), 0)


@pytest.mark.parametrize("n", [1, 2, 19, 20, 21, 125, 45000])
def test_close_ups_lie_evenly_over_the_clip(n):
    chosen = close_ups(n)
    assert len(chosen) == min(n, 20)
    assert chosen == sorted(set(chosen)) and chosen[0] >= 0 and chosen[-1] < n
    assert np.ptp(np.diff(chosen)) <= 1 if len(chosen) > 1 else chosen == [0]
    assert abs(chosen[0] - (n - 1 - chosen[-1])) <= 1


# ---- where the mouth is ------------------------------------------------------------------------------------------


def middle(part):
    return np.array([(s.start + s.stop) / 2 for s in reversed(part)])


def test_close_ups_follow_the_head():
    face, moves = portrait(1000, 1000), motion(5, tx={1: 0.2}, ty={2: -0.2}, yaw={3: 0.2}, roll={4: 0.2})
    rest = middle(mouth_part(face, moves, 0))
    assert np.abs(rest - 500).max() < 40
    shifts = np.array([middle(mouth_part(face, moves, i)) - rest for i in range(1, 5)]) / face.interocular
    np.testing.assert_allclose(shifts, [(0.2, 0), (0, -0.2), (0.16, 0), (0.18, 0)], atol=0.01)


@pytest.mark.parametrize("at", [(-50, -50), (0, 128), (255, 255), (400, 90)])
def test_close_ups_stay_in_the_picture_and_of_one_size(at):
    face = portrait()
    face.landmarks[[13, 14, 61, 291], :2] = at
    for part in (mouth_part(face, motion(1), 0), mouth_part(face, motion(1, tx={0: 0.3}, ty={0: 0.3}), 0)):
        assert face.image[part].shape == face.image[mouth_part(portrait(), motion(1), 0)].shape
        assert min(s.start for s in part) >= 0 and max(s.stop for s in part) <= 256


# ---- the strip ---------------------------------------------------------------------------------------------------


def test_columns_keep_every_peak_of_a_long_clip_where_it_is():
    values = np.zeros(45000, np.float32)
    values[22500], values[44999] = 1.0, 0.5
    columns = Track(values, 25.0).columns(1800.0, 1600)
    assert columns.shape == (1600,)
    assert np.flatnonzero(columns).tolist() == [800, 1599] and columns[800] == 1.0


def test_columns_of_a_short_clip_are_joined_by_lines():
    columns = Track(np.array([0.0, 1.0], np.float32), 25.0).columns(0.08, 100)
    assert columns[25] == pytest.approx(0.5) and columns[50] == columns[99] == 1
    assert Track(np.array([0.3], np.float32), 25.0).columns(0.04, 10) == pytest.approx(np.full(10, 0.3))


def test_loudness_is_measured_in_the_loud_parts():
    level = np.array([0.0, -2.0, -4.0, -9.0, 9.0], np.float32)
    assert relative(level, 0.0) == pytest.approx([1, 0.5, 0, 0, 1.25])
    assert relative(np.full(3, -10, np.float32), -10.0) == pytest.approx([0, 0, 0]), "silence looks like silence"


@pytest.mark.parametrize("duration_s", [0.04, 0.3, 1.0, 5.0, 13.08, 60.0, 1799.96])
def test_the_axis_has_a_readable_number_of_round_seconds(duration_s):
    step = tick_step(duration_s, 17)
    assert 3 <= duration_s / step <= 17 + 1e-6
    assert f"{step:.0e}"[0] in "125"


def test_the_numbers_of_the_marks_do_not_cover_each_other():
    assert spread([50, 500, 300], 24, 0, 1000) == [50, 500, 300]
    for columns in ([0] * 6, [1000] * 6, [995, 3, 995, 4, 500, 501]):
        places = spread(columns, 24, 0, 1000)
        assert np.diff(sorted(places)).min() >= 24 and min(places) >= 0 and max(places) <= 1000


def test_the_strip_shows_opening_and_sound_at_their_times():
    """A mouth that opens in the first half only, a sound in the second half only."""
    page = np.full((300, 1000, 3), 255, np.uint8)
    first, second = np.repeat([1, 0], 125).astype(np.float32), np.repeat([0, 1], 500).astype(np.float32)
    draw_strip(page, (0, 0, 1000), Track(first, 25.0), Track(second, 100.0), 10.0, [2.5], [])
    red = np.flatnonzero(((page[60:200, 60:940, 2] > 150) & (page[60:200, 60:940, 1] < 120)).any(0))
    blue = np.flatnonzero((page[100:240, 60:940] == (240, 224, 205)).all(2).any(0))
    assert red.max() < 445 < 435 + blue.min()
    assert 0.2 < (60 + (np.all(page[60:200, 60:400] == 120, axis=2).all(0).argmax()) - 56) / 888 < 0.3, "the mark"


# ---- the page ----------------------------------------------------------------------------------------------------


def test_the_frames_shown_are_those_that_are_named(tmp_path):
    moves = motion(
        25, jaw={3: 1, 11: 0.5, 15: 0.5}, round={5: 1}, close={13: 1}, width={17: 1}, blink={19: 1}, yaw={23: 0.2}
    )
    found = shades(sheet_of(tmp_path / "s.png", portrait(), moves).drawn())
    assert found[:6] == [shade(i) for i in (3, 5, 13, 17, 19, 23)]
    assert found[6:] == [shade(i) for i in close_ups(25)]


@pytest.mark.parametrize(
    "size, rows",
    [((256, 256), 1), ((128, 128), 1), ((608, 1080), 1), ((200, 1600), 1), ((1280, 720), 2), ((1600, 200), 2)],
)
@pytest.mark.parametrize("n", [1, 7, 40])
def test_any_picture_and_any_length_fit(size, rows, n, tmp_path):
    page = sheet_of(tmp_path / "s.png", portrait(*size), motion(n)).drawn()
    assert page.shape[1] == 1800 and 600 < page.shape[0] < 1700
    edges = np.concatenate([page[:20].ravel(), page[-4:].ravel(), page[:, :20].ravel(), page[:, -20:].ravel()])
    assert (edges == 255).all(), "nothing is cut off"
    if n == 1:  # then one shade is in all of them: rows of stills, and one close-up
        first_column = np.all(page[:, 40] == shade(0), axis=1).astype(int)
        assert (np.diff(first_column) == 1).sum() == rows + 1


def test_a_very_long_clip_costs_no_more_than_a_short_one(tmp_path):
    n = 45000
    moves, face = motion(n, jaw={40000: 1.0}), portrait()
    made = Sheet(tmp_path / "s.png", face, MotionChooser(face, moves), np.zeros(n * 4 + 1, np.float32), 100.0, 0.0)
    image = face.image
    for _ in made.watch(image for _ in range(n)):
        pass
    kept = [*made._stills.values(), *made._crops.values()]
    assert len(kept) <= 26 and all(picture.base is None or picture.base.size == picture.size for picture in kept)
    assert made.drawn().shape[1] == 1800


def test_the_stream_passes_untouched_and_one_by_one(tmp_path):
    face, made = portrait(), 0

    def source():
        nonlocal made
        for image in frames(face, 10):
            made += 1
            yield image

    sheet = Sheet(tmp_path / "s.png", face, MotionChooser(face, motion(10)), np.zeros(41, np.float32), 100.0, 0.0)
    for i, image in enumerate(sheet.watch(source())):
        assert made == i + 1 and (image == shade(i)).all()


def test_the_same_clip_gives_the_same_bytes(tmp_path):
    moves = motion(30, jaw={4: 0.8}, yaw={9: 0.1})
    level = np.sin(np.arange(121) / 9).astype(np.float32)
    for name in ("a.png", "b.png"):
        sheet_of(tmp_path / name, portrait(), moves, level).write()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]
    assert cv2.imread(str(tmp_path / "a.png")).shape[1] == 1800


def test_a_fault_in_looking_waits_until_the_video_is_done(tmp_path, monkeypatch):
    def broken(*_):
        raise ValueError("no crop")

    made = Sheet(
        tmp_path / "s.png", portrait(), MotionChooser(portrait(), motion(5)), np.zeros(21, np.float32), 100.0, 0.0
    )
    monkeypatch.setattr(page_module, "resized", broken)
    assert len(list(made.watch(frames(portrait(), 5)))) == 5
    with pytest.raises(ValueError, match="no crop"):
        made.write()
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    made = sheet_of(tmp_path / "gone" / "s.png", portrait(), motion(3))
    with pytest.raises(DeviceError, match=r"s\.png: cannot be written: No such file"):
        made.write()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DeviceError, match=r"folder\.png: cannot be written"):
        sheet_of(tmp_path / "folder.png", portrait(), motion(3)).write()
    assert [p.name for p in tmp_path.iterdir()] == ["folder.png"]


# ---- frames that come without motion ------------------------------------------------------------------------------


def seen(face, mouths, level):
    """The moments of frames whose mouths have these greys, at 25 a second, the sound at 100."""
    made = PictureChooser(face, len(mouths), FPS, np.array(level, np.float32), 100.0)
    for index, grey in enumerate(mouths):
        image = face.image.copy()
        image[made.part(index)] = grey
        made.look(index, image)
    return {moment.what: (moment.index, moment.value) for moment in made.moments()}, made.opening()


def test_what_is_seen_says_which_frames_are_shown():
    level = np.full(5 * 4 + 1, -2.0)
    level[3 * 4] = 1.0
    level[4 * 4 :] = -4.0
    reported, opening = seen(portrait(), [0, 51, 102, 20, 10], level)
    assert reported["mouth changed most"] == (2, "40.0 %")
    assert reported["mouth changed least"] == (0, "0.0 %")
    assert reported["largest step"] == (3, "32.2 %")
    assert reported["loudest"] == (3, "0 dB")
    assert reported["softest"] == (4, "-50 dB")
    assert np.allclose(opening.values, np.array([0, 51, 102, 20, 10]) / 102, atol=1e-3) and opening.rate == FPS


def test_a_mouth_that_never_moves_is_reported_and_a_single_frame_has_a_sheet(tmp_path):
    reported, opening = seen(portrait(), [1], [0.0])
    assert reported["mouth never changed"][0] == 0 and opening.values.max() < 1
    face = portrait()
    sheet = Sheet(
        tmp_path / "s.png", face, PictureChooser(face, 1, FPS, np.zeros(1, np.float32), 100.0), np.zeros(1), 100.0, 0.0
    )
    assert len(list(sheet.watch(frames(face, 1)))) == 1
    sheet.write()
    assert cv2.imread(str(tmp_path / "s.png")).shape[1] == 1800

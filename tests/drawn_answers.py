"""True boxes and answers about them, drawn by hypothesis."""

from hypothesis import strategies as st

COORDINATE = st.integers(0, 1000)


@st.composite
def some_box(draw, left=0, right=1000):
    x1, x2 = sorted(draw(st.lists(st.integers(left, right), min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(draw(st.lists(COORDINATE, min_size=2, max_size=2, unique=True)))
    return (x1, y1, x2, y2)


def jittered(box):
    """A box that overlaps `box` more or less well."""

    def shifted(by):
        x1, y1, x2, y2 = (min(1000, max(0, v + d)) for v, d in zip(box, by, strict=True))
        return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else tuple(box)

    return st.lists(st.integers(-80, 80), min_size=4, max_size=4).map(shifted)


@st.composite
def scene(draw, right=1000):
    """True boxes, and predictions with distinct confidences, most of them near a true box."""
    truth = draw(st.lists(some_box(0, right), min_size=1, max_size=5, unique=True))
    near = st.sampled_from(truth).flatmap(jittered).filter(lambda box: box[2] <= right)
    predicted = draw(st.lists(st.one_of(near, some_box(0, right)), max_size=6, unique=True))
    stated = draw(
        st.lists(st.integers(0, 100), min_size=len(predicted), max_size=len(predicted), unique=True),
    )
    return truth, [(box, c / 100) for box, c in zip(predicted, stated, strict=True)]


@st.composite
def apart(draw):
    """True boxes that do not touch, some predicted more or less well; the others are the missed ones."""
    cells = draw(st.lists(st.integers(0, 8), min_size=1, max_size=6, unique=True))
    truth = [(333 * (c % 3) + 90, 333 * (c // 3) + 90, 333 * (c % 3) + 240, 333 * (c // 3) + 240) for c in cells]
    near = st.sampled_from(truth).flatmap(jittered)
    predicted = draw(st.lists(near, max_size=6, unique=True))
    return truth, [(box, draw(st.integers(0, 100)) / 100) for box in predicted]

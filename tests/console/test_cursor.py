"""Cursors: a string and where it points are one and the same; anything else is refused."""

from hypothesis import example, given
from hypothesis import strategies as st

from schemas import topics
from schemas.errors import DecodeError
from streams.console.cursor import NOWHERE, OFFSET_MAX, Cursor, at_least, of_positions, parse, write

names = st.sampled_from([name for topic in topics.TOPICS for name in (topic.name, topics.dead_letter(topic.name))])
offsets = st.integers(0, OFFSET_MAX)
places = st.dictionaries(st.tuples(names, st.integers(0, 99)), offsets, max_size=12)
clusters = st.text("abcXYZ019_-", min_size=1, max_size=22)
cursors = st.builds(Cursor, clusters, places)


@given(cursors | st.just(NOWHERE))
def test_cursor_comes_back_as_it_was_written(cursor: Cursor) -> None:
    """What is written is read back equal, and in one line without what a header or an address needs escaped beyond `=,;:/`."""
    text = write(cursor)
    assert parse(text) == cursor
    assert all(letter.isascii() and (letter.isalnum() or letter in "_-./:;,=") for letter in text)


@given(cursors)
def test_equal_cursors_are_equal_strings(cursor: Cursor) -> None:
    """The order in which places were noted does not show."""
    assert write(cursor) == write(Cursor(cursor.cluster, dict([*cursor.places.items()][::-1])))


@given(st.text() | st.text("ab:/=,;019-", max_size=30))
@example("c/recommendation:0=1,0=1")
@example("c/recommendation:0=1;recommendation:0=2")
@example("c/recommendation:0=9223372036854775808")
@example("c/recommendation:0=-1")
@example("c/recommendation:0=1\n")
@example("c/recommendation:0=١")
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    """A text is read as the cursor that it names, all of it, or refused; nothing else happens."""
    try:
        cursor = parse(text)
    except DecodeError:
        return
    assert parse(write(cursor)) == cursor
    assert all(0 <= offset <= OFFSET_MAX for offset in cursor.places.values())
    assert sum(text.count(letter) for letter in "=") == len(cursor.places)


@given(cursors, st.data())
def test_at_least_is_an_order(cursor: Cursor, data: st.DataObject) -> None:
    """A cursor is at least itself; one step back in any place is not at least it, and it is at least that; another cluster's never is."""
    assert at_least(cursor, cursor)
    assert at_least(cursor, NOWHERE)
    assert not at_least(Cursor(cursor.cluster + "x", cursor.places), cursor)
    if behind := [place for place, offset in cursor.places.items() if offset]:
        place = data.draw(st.sampled_from(behind))
        before = Cursor(cursor.cluster, {**cursor.places, place: cursor.places[place] - 1})
        assert at_least(cursor, before)
        assert not at_least(before, cursor)


@given(cursors, cursors)
def test_places_of_only_one_reader_do_not_matter(held: Cursor, wanted: Cursor) -> None:
    """Only places that both readers have are compared."""
    both = {place: offset for place, offset in wanted.places.items() if place in held.places}
    wanted = Cursor(held.cluster, wanted.places)
    assert at_least(held, wanted) == at_least(held, Cursor(held.cluster, both))


@given(cursors)
def test_positions_of_the_read_model_are_a_cursor(cursor: Cursor) -> None:
    """The hash in which the read model keeps its positions says the same as the cursor."""
    fields = {f"{topic}:{partition}".encode(): str(offset).encode() for (topic, partition), offset in cursor.places.items()}
    assert of_positions({b"version": b"4", b"cluster": cursor.cluster.encode(), **fields}) == cursor
    assert of_positions({}) == NOWHERE

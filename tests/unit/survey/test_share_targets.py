"""Published answer distributions in long form: read whole, or refused with every fault at once."""

from pathlib import Path

import pytest

from jaxalign.errors import UserError
from jaxalign.survey import load_instrument, load_share_targets, targets_for, targets_path

OPINIONS = load_instrument("example_opinions")
GOOD = targets_path("example_opinions").read_text().splitlines()
HEADER, ROWS = GOOD[0], [line for line in GOOD[1:] if line.startswith("SA,")]


def write(folder: Path, *rows: str, header: str = HEADER) -> str:
    path = folder / "own.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return str(path)


def fault(name: str) -> str:
    with pytest.raises(UserError) as error:
        load_share_targets(name, OPINIONS)
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def changed(start: str, *, to: str | None = None, column: int = 4) -> list[str]:
    """The rows of Saudi Arabia with a cell of one replaced, or without that one."""
    rows = []
    for row in ROWS:
        if row.startswith(start):
            if to is None:
                continue
            cells = row.split(",")
            cells[column] = to
            row = ",".join(cells)
        rows.append(row)
    assert rows != ROWS
    return rows


def test_the_packaged_targets_are_whole_and_called_invented():
    targets = targets_for(OPINIONS, "example_opinions")
    assert list(targets) == ["SA", "CN", "IN", "US"]
    for target in targets.values():
        assert list(target.scores) == list(OPINIONS.dimensions)
        assert "invented" in target.source
        for item in OPINIONS.items:
            assert sum(target.scores[key] for key in item.dimensions) == pytest.approx(100)
    assert targets["SA"].scores["rules=1"] == 34.0
    assert targets["SA"].scores["school=C"] == 31.0
    assert len({tuple(target.scores.values()) for target in targets.values()}) == 4


def test_options_by_label_or_text_in_any_order_and_what_is_left_out(tmp_path):
    rows = changed("SA,Saudi Arabia,kin,4")  # 0.02: within rounding
    rows = [row.replace("school,A,", "school,The State,") for row in reversed(rows)]
    target = load_share_targets(write(tmp_path, *rows), OPINIONS)["SA"]
    assert target.scores["school=A"] == 52.0
    assert target.scores["kin=4"] == 0.0
    assert target.scores["kin=1"] == pytest.approx(100 * 0.58 / 0.98)


def test_sources_and_years_are_told_together(tmp_path):
    rows = changed("SA,Saudi Arabia,move", to="a poll", column=5)
    target = load_share_targets(write(tmp_path, *rows), OPINIONS)["SA"]
    assert target.source == "invented for this example; a poll"
    assert target.year == "none"


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (changed("SA,Saudi Arabia,move,1", to="0.47"), "shares of SA for move sum to 1.1, not"),
        (changed("SA,Saudi Arabia,move,1", to="37"), "the share '37' is no number from 0 to 1"),
        (changed("SA,Saudi Arabia,move,1", to="-0.1"), "the share '-0.1' is no number"),
        (changed("SA,Saudi Arabia,move,1", to="nan"), "the share 'nan' is no number"),
        (changed("SA,Saudi Arabia,move,1", to="few"), "the share 'few' is no number"),
        (changed("SA,Saudi Arabia,move,1", to=" "), "has no share"),
        (changed("SA,Saudi Arabia,move,1", to="", column=5), "has no source"),
        (changed("SA,Saudi Arabia,move,1", to="3", column=3), "move has the options 1, 2, not '3'"),
        (changed("SA,Saudi Arabia,move,1", to="2", column=3), "SA has option '2' of move twice"),
        (changed("SA,Saudi Arabia,move,1", to="moves", column=2), "has no item 'moves'"),
        (changed("SA,Saudi Arabia,move,1", to="Arabia", column=1), "SA is 'Saudi Arabia' above"),
        (changed("SA,Saudi Arabia,court"), "SA has no shares for item court"),
        (changed("SA,Saudi Arabia,rules,1"), "shares of SA for rules sum to 0.66, not to 1"),
        (["SA,Saudi Arabia,rules"], "row 2 has 3 cells where the header has 7"),
    ],
)
def test_a_single_fault_is_named(tmp_path, rows, named):
    message = fault(write(tmp_path, *rows))
    assert named in message
    assert message.startswith(f"{tmp_path / 'own.csv'}: ")


def test_all_faults_of_a_file_are_told_but_no_more_than_twenty(tmp_path):
    rows = [*changed("SA,Saudi Arabia,move", to="many"), "CN,China,other,1,0.5,a,1"]
    message = fault(write(tmp_path, *rows))
    assert message.count("'many'") == 2 and "no item 'other'" in message
    message = fault(write(tmp_path, *[row.replace("0.", "8.") for row in ROWS]))
    assert message.count("no number") == 20 and message.endswith("; and 11 more")
    assert len(ROWS) == 31


@pytest.mark.parametrize(
    ("rows", "header"), [([], HEADER), (["SA,Saudi Arabia,1,2"], "code,country,SELF,CARE")]
)
def test_a_file_of_another_form_says_what_the_survey_needs(tmp_path, rows, header):
    message = fault(write(tmp_path, *rows, header=header))
    assert "lacks the columns" in message and "item, option, share" in message
    assert "example_opinions needs: it compares answer distributions" in message


def test_targets_of_another_survey_are_refused():
    with pytest.raises(UserError, match="item, option, share"):
        targets_for(OPINIONS, "hofstede2010")
    with pytest.raises(UserError, match="PDI, IDV"):
        targets_for(load_instrument("vsm13"), "example_values")
    with pytest.raises(UserError, match="SELF, CARE, TRAD, RISE"):
        targets_for(load_instrument("example_values"), "newer")
    with pytest.raises(UserError, match="hofstede2010, newer, example_values, example_opinions"):
        targets_for(load_instrument("vsm13"), "example_value")


def test_a_file_that_is_not_there():
    assert "cannot read" in fault("nowhere.csv")

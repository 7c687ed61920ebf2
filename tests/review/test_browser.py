"""The review pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import io
import random
import re
from typing import Any

import cv2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from sqlalchemy import func, select

from digitocr.db import claims, corrections, items, review, schema, tables
from digitocr.review import pictures

pytestmark = pytest.mark.slow
SHOWN = {"blank": "␣", "none": "×", "?": "?"}


def open_group(
    visit: Any, served: Any, who: str = "ana", size: int = 200, **options: Any
) -> Any:
    seen = visit(served.link(who), **options)
    seen.page.goto(f"{served.base}/group/5?size={size}")
    seen.page.locator("#sheet[data-ready]").wait_for()
    return seen


def claim_of(page: Any) -> str:
    return str(page.locator(".grid").get_attribute("data-claim"))


def cells_of(served: Any, claim: str, who: str = "ana") -> Any:
    with schema.reading(served.engine) as session:
        return claims.load(session, claim, reviewer=who).cells


def count(served: Any, column: Any, *where: Any) -> int:
    with schema.reading(served.engine) as session:
        return session.scalar(select(func.count(column)).where(*where)) or 0


def look(page: Any) -> None:
    """Let the page think that it was looked at for long enough to be accepted."""
    page.evaluate(
        "() => { const now = performance.now.bind(performance);"
        "performance.now = () => now() + 4000; }"
    )


def until_saved(page: Any, claim: str) -> None:
    page.wait_for_function(
        "claim => document.querySelector('.grid')?.dataset.claim !== claim", arg=claim
    )


@pytest.mark.parametrize(
    ("width", "scale"),
    [
        (1280, 1),
        (600, 2),
        pytest.param(1280, 2, marks=pytest.mark.soak),
        pytest.param(900, 1, marks=pytest.mark.soak),
    ],
)
def test_every_cell_shows_the_pixels_of_its_own_digit(
    visit: Any, served: Any, width: int, scale: int
) -> None:
    seen = open_group(
        visit, served, viewport={"width": width, "height": 900}, device_scale_factor=scale
    )
    page = seen.page
    cells = cells_of(served, claim_of(page))
    assert len(cells) == 200
    with schema.reading(served.engine) as session:
        crops = review.glyph_crops(session, [cell.glyph for cell in cells])
    page.wait_for_load_state("networkidle")
    page.keyboard.press("End")
    boxes = page.evaluate(
        "() => [...document.querySelectorAll('.cell .crop')].map(e => {"
        "const b = e.getBoundingClientRect(); return [b.left + scrollX, b.top + scrollY]})"
    )
    whole = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("L")
    shot = np.asarray(whole)
    tiles = np.stack([pictures.tile(crops[cell.glyph]) for cell in cells]).astype(float)
    off = 0
    for place, (left, top) in enumerate(boxes):
        x, y = round(left * scale), round(top * scale)
        side = pictures.TILE * scale
        part = np.asarray(shot[y : y + side, x : x + side], np.float32)
        small = cv2.resize(part, (pictures.TILE, pictures.TILE), interpolation=cv2.INTER_AREA)
        differences = np.abs(tiles - small).mean(axis=(1, 2))
        if int(differences.argmin()) != place or differences[place] > 6:
            off += 1
    assert off <= 1  # the cell with the focus has a ring over its edge
    assert seen.wrong == []


def test_a_page_of_200_digits_is_one_picture_and_asks_nobody_else(
    visit: Any, served: Any
) -> None:
    seen = visit(served.link())
    seen.page.wait_for_load_state("networkidle")
    seen.asked.clear()
    seen.page.goto(f"{served.base}/group/5")
    seen.page.locator("#sheet[data-ready]").wait_for()
    assert seen.page.locator(".cell").count() == 200
    asked = set(seen.asked)
    assert len([url for url in asked if claim_of(seen.page) in url]) == 1
    assert len(asked) <= 9  # with the next page, which is claimed ahead
    assert [url for url in seen.asked if not url.startswith(served.base)] == []
    bottom = seen.page.locator("[data-do=save]").bounding_box()
    assert bottom["y"] + bottom["height"] <= 800
    assert "%" not in seen.page.locator("#work").inner_text()
    assert seen.wrong == []


def test_marks_by_key_agree_with_a_model_of_the_page(visit: Any, served: Any) -> None:
    """Fifty mixed steps: arrows, digits, blank, not a digit, not sure, undo and redo."""
    seen = open_group(visit, served)
    page = seen.page
    rng = random.Random(7)
    wide, total = 20, 200
    place, marks, steps, undone = 0, {}, [], []
    page.locator(".cell").first.focus()
    keys = {"Delete": "none", "-": "blank", " ": "?"} | {d: d for d in "0123456789"}

    def put(at: int, mark: str | None) -> None:
        marks.pop(at, None)
        if mark is not None:
            marks[at] = mark

    for _ in range(60):
        key = rng.choice(
            ["ArrowRight"] * 3 + ["ArrowDown", "ArrowLeft", "ArrowUp", "End", "Home"]
            + ["Control+z"] * 3 + ["Control+y"] * 2 + [*keys] + ["5"] * 3
        )  # fmt: skip
        page.keyboard.press("Space" if key == " " else key)
        if key == "ArrowRight":
            place = min(total - 1, place + 1)
        elif key == "ArrowLeft":
            place = max(0, place - 1)
        elif key == "ArrowDown":
            place += wide if place + wide < total else 0
        elif key == "ArrowUp":
            place -= wide if place >= wide else 0
        elif key == "Home":
            place -= place % wide
        elif key == "End":
            place += wide - 1 - place % wide
        elif key == "Control+z":
            if steps:
                step = steps.pop()
                undone.append(step)
                place = step[0]
                put(place, step[1])
        elif key == "Control+y":
            if undone:
                step = undone.pop()
                steps.append(step)
                place = step[0]
                put(place, step[2])
        else:
            mark = None if keys[key] == "5" else keys[key]
            if marks.get(place) != mark:
                steps.append((place, marks.get(place), mark))
                undone = []
                put(place, mark)
    found = page.evaluate(
        "() => Object.fromEntries([...document.querySelectorAll('.cell.marked')]"
        ".map(c => [c.dataset.i, c.querySelector('b').textContent]))"
    )
    assert found == {str(at): SHOWN.get(mark, mark) for at, mark in marks.items()}
    assert page.evaluate("document.activeElement.dataset.i") == str(place)
    page.keyboard.press("Shift+Numpad3")  # what it sends with the lock on
    assert page.locator(f'.cell[data-i="{place}"] b').inner_text() == "3"
    assert seen.wrong == []


def test_enter_saves_exactly_the_marks_and_shows_the_next_page(visit: Any, served: Any) -> None:
    seen = open_group(visit, served)
    page = seen.page
    claim = claim_of(page)
    cells = cells_of(served, claim)
    page.locator(".cell").nth(3).click()
    page.keyboard.press("8")
    page.locator(".cell").nth(40).click()
    page.keyboard.press("Delete")
    look(page)
    page.keyboard.press("Enter")
    until_saved(page, claim)
    page.locator("#said.good").wait_for()
    with schema.reading(served.engine) as session:
        said = {
            glyph: (verdict, text)
            for glyph, verdict, text in session.execute(
                select(tables.Decision.glyph_id, tables.Decision.verdict, tables.Decision.text)
                .where(tables.Decision.glyph_id.is_not(None))
            )
        }  # fmt: skip
    wanted = {cell.glyph: ("confirmed", "5") for cell in cells}
    wanted[cells[3].glyph] = ("corrected", "8")
    wanted[cells[40].glyph] = ("illegible", None)
    assert said == wanted
    assert page.locator(".cell").count() == 200
    assert not {c.glyph for c in cells_of(served, claim_of(page))} & set(said)
    assert page.evaluate("document.activeElement.dataset.i") == "0"

    before = count(served, tables.Decision.id)
    page.keyboard.press("Backspace")
    page.locator("#said", has_text="open again").wait_for()
    assert count(served, tables.Decision.id) >= before + 200
    restored = cells_of(served, claim_of(page))
    assert [cell.glyph for cell in restored] == [cell.glyph for cell in cells]
    assert page.locator(".cell.marked").count() == 2
    assert page.locator('.cell[data-i="3"] b').inner_text() == "8"
    assert seen.wrong == []


def test_backspace_says_why_a_page_that_was_exported_stays_saved(
    visit: Any, served: Any
) -> None:
    seen = open_group(visit, served, strict=False)  # the refusal is seen in the console
    page = seen.page
    claim = claim_of(page)
    look(page)
    page.keyboard.press("Enter")
    until_saved(page, claim)
    page.context.request.get(f"{served.base}/export?format=csv")
    before = count(served, tables.Decision.id)
    page.keyboard.press("Backspace")
    page.locator("#said.bad", has_text="went out with the export").wait_for()
    assert count(served, tables.Decision.id) == before
    assert page.locator(".cell").count() == 200


def test_a_page_accepted_much_too_soon_asks_once_whether_to_look_again(
    visit: Any, served: Any
) -> None:
    seen = visit(served.link())
    page = seen.page
    page.add_init_script("window.at = 1000; performance.now = () => window.at")
    page.goto(f"{served.base}/group/5")
    page.locator("#sheet[data-ready]").wait_for()
    claim = claim_of(page)
    for at in (3900, 4200):  # the second Enter slipped
        page.evaluate("at => { window.at = at; }", at)
        page.keyboard.press("Enter")
        assert "look again" in page.locator("#said").inner_text()
    page.wait_for_timeout(200)
    assert count(served, tables.Decision.id) == 0
    page.evaluate("() => { window.at = 4400; }")
    page.keyboard.press("Enter")
    until_saved(page, claim)
    assert count(served, tables.Decision.id, tables.Decision.glyph_id.is_not(None)) == 200
    claim = claim_of(page)
    page.evaluate("() => { window.at += 3000; }")
    page.keyboard.press("Enter")  # looked at for long enough: not asked
    until_saved(page, claim)
    assert seen.wrong == []


def test_keys_are_changed_and_change_places(visit: Any, served: Any) -> None:
    seen = open_group(visit, served)
    page = seen.page
    page.keyboard.press("?")
    page.get_by_role("button", name="Change the key: blank").click()
    page.keyboard.press("5")
    page.locator("#help-said", has_text="nothing was changed").wait_for()
    page.get_by_role("button", name="Change the key: blank").click()
    page.keyboard.press("m")
    page.locator("#help-said", has_text="changed places").wait_for()
    page.get_by_role("button", name="Close").click()
    page.locator(".cell").nth(1).click()
    page.keyboard.press("m")
    assert page.locator('.cell[data-i="1"] b').inner_text() == "␣"
    assert page.locator('[data-mark="blank"] kbd').inner_text() == "M"
    page.keyboard.press("-")
    assert page.locator('[data-do="mode"]').get_attribute("aria-pressed") == "true"
    page.keyboard.press("-")
    page.keyboard.press("?")
    page.get_by_role("button", name="All keys as delivered").click()
    page.get_by_role("button", name="Close").click()
    page.locator(".cell").nth(2).click()
    page.keyboard.press("-")
    assert page.locator('.cell[data-i="2"] b').inner_text() == "␣"
    assert seen.wrong == []


def test_half_an_hour_of_work_brings_a_word_and_takes_no_focus(visit: Any, served: Any) -> None:
    seen = open_group(visit, served)
    page = seen.page
    page.evaluate(
        "() => localStorage.setItem('digitocr:work',"
        "JSON.stringify({since: Date.now() - 31 * 60000, last: Date.now() - 60000}))"
    )
    claim = claim_of(page)
    look(page)
    page.keyboard.press("Enter")
    until_saved(page, claim)
    page.locator("#pause").wait_for()
    assert page.evaluate("document.activeElement.dataset.i") == "0"
    page.reload()
    page.locator("#pause button").click()
    assert not page.locator("#pause").is_visible()
    assert seen.wrong == []


def test_a_field_is_shown_as_large_as_its_scan_lets_it_be_seen(visit: Any, served: Any) -> None:
    seen = visit(served.link())
    page = seen.page
    page.goto(f"{served.base}/field")
    page.locator(".place img").wait_for()
    before = page.locator("img.crop").evaluate("image => image.naturalWidth")
    page.locator("[data-digit]").first.focus()
    page.keyboard.press("z")
    page.wait_for_function(
        "before => document.querySelector('img.crop').naturalWidth > before", arg=before
    )
    page.keyboard.press("z")
    page.wait_for_function(
        "before => document.querySelector('img.crop').naturalWidth === before", arg=before
    )
    page.goto(f"{served.base}/page/1#f1")
    page.locator("#number").wait_for()
    page.locator("#zoom").select_option("200")
    page.wait_for_function("() => document.querySelector('.sheet img').naturalWidth === 800")
    assert seen.wrong == []


def test_a_killed_server_keeps_the_marks_and_saves_them_once(
    visit: Any, program: Any, url: str
) -> None:
    first = program(url)
    seen = visit(first.link, strict=False)
    page = seen.page
    base = f"http://127.0.0.1:{first.port}"
    page.goto(f"{base}/group/5")
    page.locator("#sheet[data-ready]").wait_for()
    claim = claim_of(page)
    page.locator(".cell").nth(2).click()
    page.keyboard.press("8")
    page.reload()
    page.locator("#sheet[data-ready]").wait_for()
    assert claim_of(page) == claim
    assert page.locator('.cell[data-i="2"] b').inner_text() == "8"
    first.process.kill()
    first.process.wait()
    look(page)
    page.keyboard.press("Enter")
    page.locator("#said", has_text="your marks are kept").wait_for()
    assert page.locator(".cell.marked").count() == 1
    program(url, first.port)
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    until_saved(page, claim)
    engine = schema.connect(url, create=False)
    with schema.reading(engine) as session:
        rows = session.execute(
            select(tables.Decision.glyph_id, tables.Decision.text)
            .where(tables.Decision.claim_id == claim, tables.Decision.glyph_id.is_not(None))
        ).all()  # fmt: skip
    engine.dispose()
    assert len(rows) == len({glyph for glyph, _ in rows}) == 200
    assert [text for _, text in rows].count("8") == 1


def test_two_people_see_different_digits_and_a_late_page_is_told(
    visit: Any, served: Any
) -> None:
    ana, ben = (
        open_group(visit, served, who, size=100, strict=False) for who in ("ana", "ben")
    )
    mine = cells_of(served, claim_of(ana.page))
    theirs = cells_of(served, claim_of(ben.page), "ben")
    assert not {c.item for c in mine} & {c.item for c in theirs}
    with schema.writing(served.engine) as session:
        for cell in mine[:3]:
            item = session.get_one(tables.Item, cell.item)
            item.claim_id, item.claimed_until = "x", item.claimed_until
    look(ana.page)
    ana.page.keyboard.press("Enter")
    ana.page.locator("#said.bad", has_text="3 of this page were not").wait_for()
    claim = claim_of(ben.page)
    ben.page.goto("about:blank")
    for _ in range(50):
        with schema.reading(served.engine) as session:
            if session.get_one(tables.Claim, claim).state == "released":
                break
        ben.page.wait_for_timeout(50)
    assert count(served, tables.Claim.id, tables.Claim.id == claim,
                 tables.Claim.state == "released") == 1  # fmt: skip


def test_blind_keying_never_shows_what_was_read(visit: Any, served: Any) -> None:
    answers: list[str] = []
    seen = visit(served.link())
    seen.page.on(
        "response",
        lambda r: (
            answers.append(r.text())
            if "text" in r.headers.get("content-type", "") and "/static/" not in r.url
            else None
        ),
    )
    seen.page.goto(f"{served.base}/blind")
    assert seen.page.locator("[data-key]").count() == 12
    seen.page.wait_for_load_state("networkidle")
    work = seen.page.evaluate("document.querySelector('#work').outerHTML")
    for text in [work, *[answer.split('<main id="work">')[-1] for answer in answers]]:
        # Of the lease, and of claims: their digits are nobody's reading.
        random_ = r'\d{4}-\d\d-\d\dT[\d:.]+|data-claim="[\w-]+"|/claims/[\w-]+'
        assert "64" not in re.sub(random_, "", text)
    assert seen.page.locator("[data-key]").first.input_value() == ""
    assert seen.wrong == []


def test_the_field_review_visits_only_doubtful_digits_and_takes_one_key_each(
    visit: Any, served: Any
) -> None:
    seen = visit(served.link())
    page = seen.page
    page.goto(f"{served.base}/field")
    assert page.locator("[data-digit]").count() == 1
    assert page.evaluate("document.activeElement.matches('[data-unsure]')")
    page.locator(".place img").wait_for()
    assert "could not be explained" in page.locator(".reasons").inner_text()
    assert page.locator("[data-chip]").all_inner_texts() == ["7", "3"]
    claim = page.locator("#form").get_attribute("data-claim")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "claim => document.querySelector('#form').dataset.claim !== claim", arg=claim
    )
    with schema.reading(served.engine) as session:
        (said,) = session.scalars(select(tables.Decision)).all()
    assert (said.text, said.verdict, said.screen, said.claim_id) == (
        "3", "corrected", "field", claim,
    )  # fmt: skip
    assert seen.wrong == []


def fields_held(served: Any) -> list[tuple[str, str, int]]:
    """List who holds what of the fields: claim, person, reading."""
    with schema.reading(served.engine) as session:
        rows = session.execute(
            select(tables.Item.claim_id, tables.Claim.reviewer, tables.Item.reading_id)
            .join(tables.Claim, tables.Claim.id == tables.Item.claim_id)
            .where(tables.Item.queue == "field", tables.Item.state == "open")
        ).all()
    return [(claim, who, reading) for claim, who, reading in rows]


def field_claim(page: Any) -> str:
    return str(page.locator("#form").get_attribute("data-claim"))


def test_enter_shows_the_field_that_was_claimed_ahead_and_leaving_gives_both_back(
    visit: Any, served: Any
) -> None:
    at_work = {}
    for who in ("ana", "ben"):
        seen = visit(served.link(who))
        seen.page.goto(f"{served.base}/field")
        at_work[who] = seen
    shown: list[str] = []
    for _ in range(4):
        for seen in at_work.values():
            page = seen.page
            page.locator("#sheet[data-ahead]").wait_for()
            claim, after = field_claim(page), page.locator("#sheet").get_attribute("data-ahead")
            shown.append(claim)
            page.evaluate("() => { window.stayed = true; }")
            page.wait_for_timeout(260)  # an Enter any sooner is not for this field
            seen.asked.clear()
            page.keyboard.press("Enter")
            page.locator(f'#form[data-claim="{after}"]').wait_for()
            assert page.evaluate("window.stayed")  # no page was loaded
            asked = [url for url in seen.asked if claim in url or after in url]
            assert asked == [f"{served.base}/claims/{claim}/fields"]  # all else was there
            assert page.evaluate("document.activeElement.matches('[data-unsure]')")
            assert page.locator(".place img").count() == 1
            assert "?claim=" + after in page.url
    left = 31 - len(shown)
    assert f"{left} fields waiting" in at_work["ben"].page.locator(".facts").inner_text()
    for seen in at_work.values():
        seen.page.locator("#sheet[data-ahead]").wait_for()
    held = fields_held(served)
    assert len(held) == len({reading for _, _, reading in held}) == 4
    assert sorted(who for _, who, _ in held) == ["ana", "ana", "ben", "ben"]
    with schema.reading(served.engine) as session:
        said = session.scalars(select(tables.Decision.reading_id)).all()
    assert len(said) == len(set(said)) == len(shown) == len(set(shown)) == 8
    at_work["ana"].page.goto("about:blank")
    for _ in range(50):
        if [who for _, who, _ in fields_held(served)] == ["ben", "ben"]:
            break
        at_work["ana"].page.wait_for_timeout(50)
    assert sorted(who for _, who, _ in fields_held(served)) == ["ben", "ben"]
    assert at_work["ana"].wrong == at_work["ben"].wrong == []


def test_a_key_held_down_or_pressed_too_soon_confirms_one_field(
    visit: Any, served: Any
) -> None:
    seen = visit(served.link())
    page = seen.page
    page.goto(f"{served.base}/field")
    page.locator("#sheet[data-ahead]").wait_for()
    page.wait_for_timeout(260)
    claim = field_claim(page)
    page.keyboard.down("Enter")
    for _ in range(8):
        page.keyboard.down("Enter")  # as a key that is held down repeats
        page.wait_for_timeout(60)
    page.keyboard.up("Enter")
    page.wait_for_function(
        "claim => document.querySelector('#form').dataset.claim !== claim", arg=claim
    )
    page.wait_for_timeout(300)
    assert count(served, tables.Decision.id) == 1
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.wait_for_timeout(600)
    assert count(served, tables.Decision.id) == 2
    assert seen.wrong == []


def test_what_was_keyed_is_there_after_a_reload_and_gone_once_saved(
    visit: Any, served: Any
) -> None:
    seen = visit(served.link())
    page = seen.page
    page.goto(f"{served.base}/blind")
    page.locator("#sheet[data-ahead]").wait_for()
    keys = page.locator("[data-key]")
    for place in range(12):
        keys.nth(place).fill(str(70 + place))
    claim = field_claim(page)
    page.reload()
    assert field_claim(page) == claim
    assert keys.nth(11).input_value() == "81"
    page.locator("#sheet[data-ahead]").wait_for()
    keys.nth(11).focus()
    page.wait_for_timeout(260)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "claim => document.querySelector('#form').dataset.claim !== claim", arg=claim
    )
    assert keys.nth(0).input_value() == ""
    assert page.evaluate("Object.keys(sessionStorage).filter(k => k.includes('typed'))") == []
    with schema.reading(served.engine) as session:
        keyed = session.scalars(select(tables.Keying.text).order_by(tables.Keying.id)).all()
    assert sorted(keyed) == [str(70 + place) for place in range(12)]
    assert seen.wrong == []


def test_a_conflict_offers_the_digit_that_mends_the_sum_and_takes_nothing_by_itself(
    visit: Any, served: Any
) -> None:
    seen = visit(served.link(), strict=False)
    page = seen.page
    page.goto(f"{served.base}/conflict")
    assert "Number 14 is 17" in page.locator(".offer").inner_text()
    assert page.locator('[data-name="n14"]').input_value() == "12"
    page.locator("[data-do=save]").click()
    page.locator("[data-broken]", has_text="does not come out").wait_for()
    assert count(served, tables.Decision.id) == 0
    page.locator("[data-offer]").click()
    claim = page.locator("#form").get_attribute("data-claim")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "claim => document.querySelector('#form')?.dataset.claim !== claim", arg=claim
    )
    page.locator("[data-do=as-written]").click()
    page.wait_for_function(
        "() => performance.getEntriesByType('navigation').length && document.readyState"
    )
    for _ in range(100):
        if count(served, tables.Decision.id) == 6:
            break
        page.wait_for_timeout(50)
    with schema.reading(served.engine) as session:
        said = session.scalars(select(tables.Decision).order_by(tables.Decision.id)).all()
    assert [one.text for one in said] == ["17", "30", "47", "12", "30", "47"]
    assert [one.as_written for one in said] == [False] * 3 + [True] * 3


def test_boxes_lie_over_their_fields_at_every_zoom(visit: Any, served: Any) -> None:
    seen = visit(served.link())
    page = seen.page
    page.goto(f"{served.base}/page/1")
    for zoom in ("50", "100", "200"):
        page.locator("#zoom").select_option(zoom)
        off = page.evaluate(
            "() => { const s = document.querySelector('.sheet img').getBoundingClientRect();"
            "const k = s.width / 400; return Math.max(...[...document.querySelectorAll('.box')]"
            ".map((g, i) => { const b = g.querySelector('rect').getBoundingClientRect();"
            "return Math.max(Math.abs(b.left - s.left - 20 * k),"
            "Math.abs(b.top - s.top - (20 + 28 * i) * k)); })); }"
        )
        assert off <= 2
    order = []
    page.locator("h1").click()
    for _ in range(3):
        page.keyboard.press("n")
        page.locator("#number").wait_for()
        page.wait_for_timeout(100)
        order.append(page.locator('[aria-current="true"] span').first.inner_text())
    assert order == ["Number 0", "Number 1", "Number 2"]
    assert seen.wrong == []


def test_a_digit_that_is_drawn_is_read(visit: Any, served: Any) -> None:
    seen = visit(served.link())
    page = seen.page
    page.goto(f"{served.base}/try")
    pad = page.locator("#pad").bounding_box()
    x, y = pad["x"], pad["y"]
    page.mouse.move(x + 80, y + 70)
    page.mouse.down()
    for to in ((150, 68), (215, 70), (185, 130), (155, 190), (130, 245)):
        page.mouse.move(x + to[0], y + to[1], steps=6)
    page.mouse.up()
    page.locator(".answer").wait_for(timeout=60000)
    assert page.locator(".answer").inner_text() == "7"
    assert page.locator(".bars meter").count() >= 10
    page.wait_for_function("() => document.querySelector('.seen').naturalWidth === 28")
    page.locator("[data-do=keep]").click()
    page.locator("#said", has_text="Say which digit").wait_for()
    page.locator("#label").select_option("7")
    page.locator("[data-do=keep]").click()
    page.locator("#said", has_text="Kept; 1 in all").wait_for()
    with schema.reading(served.engine) as session:
        (kept,) = corrections.verified_glyphs(session)
    assert (kept.label, kept.read, kept.reviewers) == (7, "7", ("ana",))
    page.locator("[data-do=clear]").click()
    assert page.locator(".answer").count() == 0
    assert seen.wrong == []


def test_the_first_page_moves_while_a_batch_runs_and_keeps_the_focus(
    visit: Any, served: Any, filled_with: Any
) -> None:
    with schema.writing(served.engine) as session:
        batch = session.scalars(select(tables.Batch)).one()
        ended, batch.status, batch.finished_at = batch.finished_at, "running", None
    seen = visit(served.link())
    page = seen.page
    page.locator(".state.running").wait_for()
    page.evaluate("() => { window.stayed = true; }")
    link = page.locator("#to-field")
    link.focus()
    with schema.writing(served.engine) as session:
        fields = session.scalars(select(tables.Item).where(tables.Item.queue == "field"))
        items.close(session, list(fields)[:20], tables.ItemState.GONE)
    page.locator("#queue-field + .figure", has_text="11").wait_for()
    assert page.evaluate("document.activeElement.id") == "to-field"
    with schema.writing(served.engine) as session:
        batch = session.scalars(select(tables.Batch)).one()
        batch.status, batch.finished_at = "partial", ended
    page.locator(".state.partial").wait_for()
    seen.asked.clear()
    page.wait_for_timeout(2600)
    assert seen.asked == []  # asked for no more
    assert page.evaluate("window.stayed && document.activeElement.id") == "to-field"
    assert seen.wrong == []


def test_known_wrong_digits_look_like_the_others(visit: Any, served: Any) -> None:
    with schema.writing(served.engine) as session:
        for one in session.scalars(select(tables.Reading).where(tables.Reading.field == "n18")):
            session.add(
                tables.Decision(
                    reading_id=one.id, verdict="confirmed", text="31", reviewer="eve",
                    made_at=served.desk.now(), audit=True, screen="audit", shown=False,
                )
            )  # fmt: skip
    answers: list[str] = []
    seen = visit(served.link())
    page = seen.page
    page.on(
        "response",
        lambda r: answers.append(r.text()) if "/static/" not in r.url and "text" in
        r.headers.get("content-type", "") else None,
    )  # fmt: skip
    page.goto(f"{served.base}/group/5")
    page.locator("#sheet[data-ahead]").wait_for()
    cells = cells_of(served, claim_of(page))
    seeds = [place for place, cell in enumerate(cells) if cell.item is None]
    assert len(seeds) >= 2
    shown = page.evaluate(
        "() => [...document.querySelectorAll('.cell')].map(c => { const e = c.cloneNode(true);"
        "e.querySelector('.crop').removeAttribute('style'); e.classList.remove('dashed');"
        "for (const a of ['data-i', 'aria-label', 'tabindex']) e.removeAttribute(a);"
        "return e.outerHTML; })"
    )
    assert len(set(shown)) == 1
    assert len(shown) == len(cells) == 200 + len(seeds)
    known = [str(cell.glyph) for cell in cells]
    for text in answers:
        names = set(re.findall(r'[\w-]+(?==")', text))
        assert not {
            name for name in names if "seed" in name or "glyph" in name or "item" in name
        }
        assert not any(f'"{glyph}"' in text for glyph in known if int(glyph) > 210)
    look(page)
    page.keyboard.press("Enter")
    until_saved(page, claim_of(page))
    page.locator("#said.good", has_text="200 saved").wait_for()
    with schema.reading(served.engine) as session:
        found = session.scalars(select(tables.Seed)).all()
        said = set(session.scalars(select(tables.Decision.glyph_id)))
    assert [one.caught for one in found] == [False] * len(seeds)
    assert not {cells[place].glyph for place in seeds} & said


def test_number_keys_outside_the_grid_mark_nothing_and_other_layouts_do(
    visit: Any, served: Any
) -> None:
    seen = open_group(visit, served)
    page = seen.page
    for place in (".tools button >> nth=3", "nav.digits a >> nth=2", ".brand"):
        page.locator(place).focus()
        page.keyboard.press("8")
    assert page.locator(".cell.marked").count() == 0
    page.locator(".cell").nth(4).click()
    press = (
        "([key, code]) => document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
        "{key, code, bubbles: true, cancelable: true}))"
    )
    for key, code, digit in (("é", "Digit2", "2"), ("\u0667", "Digit7", "7"),
                             ("9", "Digit9", "9"), ("\u06f3", "KeyX", "3")):  # fmt: skip
        page.evaluate(press, [key, code])
        assert page.locator('.cell[data-i="4"] b').inner_text() == digit
    page.goto(f"{served.base}/field")
    page.locator("#sheet[data-ready]").wait_for()
    page.evaluate(press, ["\u0664", "Digit4"])
    assert page.locator("[data-digit]").input_value() == "4"
    assert page.locator(".whole").input_value() == "4"
    assert seen.wrong == []


def test_a_rule_that_is_broken_is_said_and_forgotten_when_something_else_is_typed(
    visit: Any, served: Any
) -> None:
    with schema.writing(served.engine) as session:
        reading = session.scalars(
            select(tables.Reading).where(tables.Reading.field == "n18")
        ).first()
        like = session.scalars(select(tables.Item)).first()
        first = tables.Item(
            reading_id=reading.id, glyph_id=None, batch_id=like.batch_id, queue="field",
            label="sheet", priority=99.0, state="open",
        )  # fmt: skip
        session.add(first)
    seen = visit(served.link(), strict=False)
    page = seen.page
    page.goto(f"{served.base}/field")
    page.locator("#sheet[data-ahead]").wait_for()
    assert page.locator("h1").inner_text() == "Number 18"
    number = page.locator(".whole")
    number.fill("99")
    page.wait_for_timeout(260)
    page.keyboard.press("Enter")
    page.locator("[data-broken]", has_text="outside the range").wait_for()
    assert count(served, tables.Decision.id) == 0
    number.fill("49")
    assert page.locator("[data-broken]").inner_text() == ""
    claim = field_claim(page)
    page.keyboard.press("Enter")
    page.wait_for_function(
        "claim => document.querySelector('#form').dataset.claim !== claim", arg=claim
    )
    with schema.reading(served.engine) as session:
        (said,) = session.scalars(select(tables.Decision)).all()
    assert (said.text, said.as_written) == ("49", False)


def test_a_mark_is_painted_at_once_and_seen_without_colors(visit: Any, served: Any) -> None:
    seen = open_group(visit, served, forced_colors="active")
    page = seen.page
    page.evaluate(
        "() => { window.took = []; addEventListener('keydown', () => {"
        "const began = performance.now(); requestAnimationFrame(() =>"
        "setTimeout(() => window.took.push(performance.now() - began))); }, {capture: true}); }"
    )
    for _ in range(15):
        page.keyboard.press("8")
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => window.took.length === 30")
    took = sorted(page.evaluate("window.took"))
    assert took[len(took) // 2] < 180  # three times what it may be where nothing else runs
    marked = page.locator('.cell[data-i="3"]')
    style = marked.evaluate("e => getComputedStyle(e).outlineStyle")
    assert (marked.locator("b").inner_text(), style) == ("8", "solid")
    assert seen.wrong == []


SCREENS = [
    "/", "/batch/monday?percent=5", "/group/5", "/group/1", "/field", "/conflict", "/blind",
    "/audit", "/page/1#f1", "/query", "/people", "/try",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.soak)])
def test_axe_finds_nothing_on_any_screen(visit: Any, served: Any, scheme: str) -> None:
    seen = visit(served.link(), color_scheme=scheme)
    for screen in SCREENS:
        seen.page.goto(served.base + screen)
        seen.page.wait_for_timeout(100)
        found = Axe().run(seen.page)
        assert found.violations_count == 0, screen + "\n" + found.generate_report()
    assert seen.wrong == []
    assert [url for url in seen.asked if not url.startswith(served.base)] == []


def test_the_whole_job_is_done_by_keyboard(visit: Any, served: Any) -> None:
    seen = visit(served.link())
    page = seen.page
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('href')") == "/group/5":
            break
    page.keyboard.press("Enter")
    page.locator("#sheet[data-ready]").wait_for()
    for _ in range(3):
        claim = claim_of(page)
        look(page)
        page.keyboard.press("Enter")
        until_saved(page, claim)
        assert page.evaluate("document.activeElement !== document.body")
    page.locator(".done").wait_for()
    assert count(served, tables.Decision.id, tables.Decision.glyph_id.is_not(None)) == 434
    assert seen.wrong == []


@pytest.mark.soak
@pytest.mark.parametrize("width", [640, 390])
def test_nothing_scrolls_sideways_at_twice_the_size_or_in_a_narrow_window(
    visit: Any, served: Any, width: int
) -> None:
    seen = visit(served.link(), viewport={"width": width, "height": 400})
    for screen in SCREENS:
        seen.page.goto(served.base + screen)
        wide = seen.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, screen

// A page of digits that were read alike: marks by key, mouse or touch, kept until they are saved.
//
// Marks are kept in sessionStorage by claim, and sent by the place of a cell: the page knows no
// ids of digits. The next page is claimed and its picture loaded while this one is looked at.

import { action, digitOf, hold, post, say, words, worked } from './page.js';

const TILE = 56;
const sheet = document.getElementById('sheet');
const context = document.getElementById('context');
const digit = sheet.dataset.digit;
const nextUrl = `/group/${digit}/next?size=${sheet.dataset.size}`;
const SHOWN = { blank: '␣', none: '×', '?': '?' };
const LOOK_MS = 3000; // who accepts a page of 100 or more sooner is asked once to look again
const ASKED_MS = 400; // a second Enter this soon is the same one
const SPOKEN = { blank: 'blank', none: 'not a digit', '?': 'not sure' };

let grid = null;
let cells = [];
let marks = {};
let steps = []; // [place, before, after]
let undone = [];
let here = 0;
let through = false;
let saving = false;
let since = 0;
let asked = 0; // when this page was asked about
let ahead = null; // { holder, grid, made }: the next page, claimed already, or being so
let timer = 0;

const key = () => `digitocr:${grid.dataset.claim}`;
const claim = () => grid?.dataset.claim;

function columns() {
  const top = cells[0].offsetTop;
  const next = cells.findIndex((cell) => cell.offsetTop > top);
  return next < 0 ? cells.length : next;
}

function keep() {
  sessionStorage.setItem(key(), JSON.stringify({ marks, steps, undone, through }));
}

function paint(place) {
  const cell = cells[place];
  const mark = marks[place];
  const seen = mark !== undefined && (through || mark !== digit);
  cell.classList.toggle('marked', seen && mark !== digit);
  cell.classList.toggle('typed', seen && mark === digit);
  cell.querySelector('b').textContent = seen ? SHOWN[mark] ?? mark : '';
  cell.setAttribute('aria-label', `${place + 1}${seen ? `, marked ${SPOKEN[mark] ?? mark}` : ''}`);
}

function count() {
  const number = Object.values(marks).filter((mark) => mark !== digit).length;
  const line = sheet.querySelector('[data-count-marks]');
  if (through) {
    line.textContent = `${Object.keys(marks).length} of ${cells.length} typed, ${number} marked`;
  } else {
    line.textContent = number ? `${number} marked` : 'No marks';
  }
}

function go(place, focus = true) {
  cells[here]?.setAttribute('tabindex', '-1');
  here = Math.max(0, Math.min(cells.length - 1, place));
  cells[here].setAttribute('tabindex', '0');
  if (focus) cells[here].focus({ preventScroll: false });
  if (!context.hidden) showContext();
}

function put(place, mark) {
  const before = marks[place];
  const after = mark === digit && !through ? undefined : mark;
  if (before === after) return;
  steps.push([place, before ?? null, after ?? null]);
  undone = [];
  set(place, after);
}

function set(place, mark) {
  if (mark === undefined || mark === null) delete marks[place];
  else marks[place] = mark;
  paint(place);
  count();
  keep();
}

function back(from, to, which) {
  const step = from.pop();
  if (!step) return false;
  to.push(step);
  set(step[0], step[which]);
  go(step[0]);
  return true;
}

function showContext() {
  const picture = context.querySelector('img');
  const url = `/claims/${claim()}/field/${here}.png`;
  if (!picture.src.endsWith(url)) picture.src = url;
  context.classList.toggle('above', cells[here].getBoundingClientRect().top > innerHeight / 2);
  context.hidden = false;
}

// Gives every cell its part of the one picture; of the next page while this one is looked at.
function dress(holder) {
  const found = holder.querySelector('.grid');
  const crops = [...holder.querySelectorAll('.cell .crop')];
  const perRow = Number(found?.dataset.columns);
  const rows = Math.ceil(crops.length / perRow);
  for (const [place, crop] of crops.entries()) {
    crop.style.backgroundImage = `url("${found.dataset.picture}")`;
    crop.style.backgroundSize = `${perRow * TILE}px ${rows * TILE}px`;
    crop.style.backgroundPosition = `-${(place % perRow) * TILE}px -${Math.floor(place / perRow) * TILE}px`;
  }
  return found;
}

function start(holder) {
  grid = holder.querySelector('.grid');
  cells = [];
  if (!grid) return;
  cells = [...grid.querySelectorAll('.cell')];
  if (!cells[0].querySelector('.crop').style.backgroundImage) dress(holder);
  const kept = JSON.parse(sessionStorage.getItem(key()) ?? '{}');
  marks = kept.marks ?? {};
  steps = kept.steps ?? [];
  undone = kept.undone ?? [];
  setMode(kept.through ?? through, false);
  for (const place of Object.keys(marks)) paint(Number(place));
  count();
  context.hidden = true;
  here = 0;
  go(0);
  since = performance.now();
  asked = 0;
  history.replaceState(null, '', `${location.pathname}?size=${sheet.dataset.size}&claim=${claim()}`);
}

function prefetch() {
  if (ahead) return;
  ahead = { holder: null, grid: null };
  ahead.made = claimNext(ahead);
}

async function claimNext(mine) {
  const answer = await post(nextUrl);
  if (!answer?.ok) return;
  const holder = document.createElement('div');
  holder.innerHTML = await answer.text();
  mine.holder = holder;
  const found = dress(holder);
  mine.grid = found;
  if (found) {
    mine.picture = new Image();
    mine.picture.src = found.dataset.picture;
    await mine.picture.decode().catch(() => {});
  }
  sheet.dataset.ahead = found?.dataset.claim ?? 'none';
}

async function show(holder, waiting) {
  sheet.replaceChildren(...holder.childNodes);
  const line = sheet.querySelector('[data-waiting]');
  if (line && waiting) line.textContent = waiting;
  start(sheet);
  if (!grid) {
    sheet.querySelector('a')?.focus();
    history.replaceState(null, '', location.pathname);
  } else {
    sheet.dataset.ready = claim();
    ahead = null;
    delete sheet.dataset.ahead;
    later(30);
  }
}

function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(prefetch, ms);
}

async function save(postpone = false) {
  if (saving || !grid) return;
  if (through && !postpone && Object.keys(marks).length < cells.length) {
    const open = cells.findIndex((_, place) => marks[place] === undefined);
    say(`Cell ${open + 1} is not typed yet.`, 'bad');
    go(open);
    return;
  }
  const now = performance.now();
  if (!asked && !postpone && now - since < LOOK_MS * Math.min(1, cells.length / 100)) {
    asked = now;
    say('That was quick: look again? Enter saves.');
    return;
  }
  if (now - asked < ASKED_MS) return;
  saving = true;
  const saved = claim();
  const sent = Object.fromEntries(Object.entries(marks).filter(([, mark]) => postpone || mark !== digit));
  const ms = Math.round(performance.now() - since);
  const answer = await post(`/claims/${saved}/save`, { marks: sent, ms, postpone });
  if (answer === null || (!answer.ok && answer.status !== 409)) {
    say(answer === null || answer.status >= 500
      ? 'Not saved, your marks are kept, Enter tries again.'
      : await words(answer), 'bad');
    saving = false;
    return;
  }
  const done = await answer.json();
  sessionStorage.removeItem(key());
  sessionStorage.setItem('digitocr:last', JSON.stringify({ claim: saved, marks, digit }));
  worked();
  say(done.message ?? `${done.saved} saved.`, answer.status === 409 ? 'bad' : 'good');
  clearTimeout(timer);
  await ahead?.made;
  let holder = ahead?.holder;
  if (!holder?.querySelector('.grid')) {
    // Nothing was free while this page was held; ask again now that it is saved.
    const next = await post(nextUrl);
    holder = document.createElement('div');
    holder.innerHTML = next?.ok ? await next.text() : '<p class="done">The server does not answer. Reload to go on.</p>';
  }
  await show(holder, done.waiting);
  saving = false;
}

async function reopen() {
  const last = JSON.parse(sessionStorage.getItem('digitocr:last') ?? 'null');
  if (!last || saving) {
    say('There is no saved page to go back to.');
    return;
  }
  saving = true;
  const answer = await post(`/claims/${last.claim}/undo`);
  if (!answer?.ok) {
    say(await words(answer), 'bad');
    saving = false;
    return;
  }
  const found = await answer.json();
  if (last.digit !== digit) {
    location.href = `/group/${last.digit}?claim=${found.claim}`;
    return;
  }
  const restored = {};
  for (const [place, was] of found.was.entries()) {
    if (last.marks[was] !== undefined) restored[place] = last.marks[was];
  }
  sessionStorage.setItem(`digitocr:${found.claim}`, JSON.stringify({ marks: restored, through }));
  sessionStorage.removeItem('digitocr:last');
  if (claim()) await post(`/claims/${claim()}/release`);
  const holder = document.createElement('div');
  holder.innerHTML = found.html;
  const kept = ahead;
  sheet.replaceChildren(...holder.childNodes);
  start(sheet);
  ahead = kept;
  if (!ahead) later(30);
  say('The last page is open again; what it said is taken back.');
  saving = false;
}

function setMode(on, store = true) {
  through = on;
  const button = document.querySelector('[data-do="mode"]');
  button.setAttribute('aria-pressed', String(on));
  document.body.classList.toggle('through', on);
  if (store) for (const place of cells.keys()) paint(place);
  if (grid) count();
  if (store && grid) keep();
}

function nextDashed(step) {
  for (let place = here + step; place >= 0 && place < cells.length; place += step) {
    if (cells[place].classList.contains('dashed')) return place;
  }
  return -1;
}

function mark(value) {
  put(here, value);
  if (through) go(here + 1);
}

function onKey(event) {
  if (event.altKey || event.metaKey || saving) {
    if (saving && event.key === 'Enter') event.preventDefault();
    return;
  }
  const wide = columns();
  const row = Math.floor(here / wide);
  const control = event.ctrlKey;
  const moves = {
    ArrowLeft: here - 1,
    ArrowRight: here + 1,
    ArrowUp: here - wide >= 0 ? here - wide : here,
    ArrowDown: here + wide < cells.length ? here + wide : here,
    Home: control ? 0 : row * wide,
    End: control ? cells.length - 1 : row * wide + wide - 1,
  };
  const name = event.key.toLowerCase();
  const does = action('group', event);
  if (event.key in moves) go(moves[event.key]);
  else if (control && name === 'z') back(steps, undone, 1);
  else if (control && name === 'y') back(undone, steps, 2);
  else if (event.key === 'Enter') {
    if (!event.repeat) save(control); // a key that is held down accepts one page, not all
  } else if (control) return;
  else if (event.key === 'Tab') {
    const next = nextDashed(event.shiftKey ? -1 : 1);
    if (next < 0 || through) return;
    go(next);
  } else if (digitOf(event) !== null) mark(digitOf(event));
  else if (event.key === 'Backspace') {
    if (through && here > 0) go(here - 1);
    else if (Object.keys(marks).length) back(steps, undone, 1);
    else reopen();
  } else if (does === 'unsure') mark('?');
  else if (does === 'blank') mark('blank');
  else if (does === 'none') mark('none');
  else if (does === 'context' || event.key === 'F2') {
    if (context.hidden) showContext();
    else context.hidden = true;
  } else if (does === 'mode') setMode(!through);
  else if (event.key === 'Escape') {
    if (context.hidden) document.querySelector('[data-do="save"]').focus();
    else context.hidden = true;
  } else return;
  event.preventDefault();
}

sheet.addEventListener('keydown', (event) => {
  if (event.target.closest('.cell')) onKey(event);
});
sheet.addEventListener('click', (event) => {
  const cell = event.target.closest('.cell');
  if (cell) go(Number(cell.dataset.i));
});
document.querySelector('.tools').addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || !grid) return;
  if (button.dataset.mark) {
    mark(button.dataset.mark);
    cells[here].focus();
  }
  const actions = {
    undo: () => back(steps, undone, 1),
    context: () => (context.hidden ? showContext() : (context.hidden = true)),
    mode: () => setMode(!through),
    back: reopen,
    save: () => save(),
  };
  actions[button.dataset.do]?.();
});

hold(() => [grid, ahead?.grid].filter(Boolean));
start(sheet);
if (grid) {
  sheet.dataset.ready = claim();
  later(300);
}

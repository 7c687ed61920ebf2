// The page with its boxes: go from doubt to doubt, open a field beside the page, decide it.

import { action, csrf, enlarge, say, words, worked } from './page.js';

const panel = document.getElementById('panel');
const list = [...document.querySelectorAll('.fields button')];
const sheet = document.getElementById('sheet');
const zoom = document.getElementById('zoom');
const EDGE = 60; // pixels from the edge of the window, where a field is not looked at well
let here = -1;
let asWritten = false;
let key = '';

function boxOf(reading) {
  return document.getElementById(`b${reading}`);
}

async function open(place, focus = true) {
  if (place < 0) return;
  list[here]?.removeAttribute('aria-current');
  boxOf(list[here]?.dataset.reading)?.classList.remove('here');
  here = place;
  const { reading } = list[here].dataset;
  list[here].setAttribute('aria-current', 'true');
  list[here].scrollIntoView({ block: 'nearest' });
  const box = boxOf(reading);
  box?.classList.add('here');
  asWritten = false;
  key = crypto.randomUUID();
  const answer = await fetch(`/readings/${reading}/panel`);
  if (!answer.ok) {
    say(await words(answer), 'bad');
    return;
  }
  panel.innerHTML = await answer.text();
  if (focus) {
    const number = document.getElementById('number');
    number.focus({ preventScroll: true });
    number.select();
  }
  const shown = box ?? list[here];
  const { top, bottom } = shown.getBoundingClientRect();
  const inside = top > EDGE && bottom < innerHeight - EDGE;
  shown.scrollIntoView({ block: inside ? 'nearest' : 'center', inline: 'nearest' });
}

function step(by) {
  const places = list.map((button, place) => ('unsure' in button.dataset ? place : -1)).filter((place) => place >= 0);
  const next = by > 0 ? places.find((place) => place > here) : places.findLast((place) => place < here);
  if (next === undefined) say(by > 0 ? 'No field in doubt after this one.' : 'No field in doubt before this one.');
  else open(next);
}

async function decide(illegible = false) {
  const { reading } = list[here].dataset;
  const text = document.getElementById('number').value;
  const body = { said: { 0: { text: illegible ? '' : text, illegible } }, as_written: asWritten };
  let answer = null;
  try {
    answer = await fetch(`/readings/${reading}/decide`, {
      method: 'POST',
      headers: { 'X-CSRF': csrf, 'X-Key': key, 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    });
  } catch { /* said below */ }
  if (answer?.status === 422) {
    const found = await answer.json();
    const message = typeof found.message === 'string' ? found.message : 'Type digits only.';
    panel.querySelector('[data-broken]').textContent = found.broken ? `${message} Enter again: it is written like that.` : message;
    asWritten = Boolean(found.broken);
    return;
  }
  if (!answer?.ok) {
    say(await words(answer), 'bad');
    return;
  }
  const { value, status } = await answer.json();
  const row = list[here];
  row.querySelector('[data-value]').textContent = value ?? '—';
  const state = row.querySelector('[data-status]');
  state.textContent = status;
  state.className = `state ${status}`;
  delete row.dataset.unsure;
  const box = boxOf(reading);
  if (box) {
    box.setAttribute('class', `box ${status}`);
    const icon = { confirmed: '✓✓', corrected: '✎', illegible: '✕' }[status] ?? '';
    box.querySelector('text').textContent = `${icon} ${value ?? ''}`;
    box.setAttribute('aria-label', `${row.firstElementChild.textContent}: ${value ?? 'not known'}, ${status}`);
  }
  worked();
  say(`${row.firstElementChild.textContent} is ${status}.`, 'good');
  const after = list.findIndex((button, place) => place > here && 'unsure' in button.dataset);
  if (after >= 0) open(after);
  else open(here, false);
}

document.addEventListener('click', (event) => {
  const target = event.target.closest('[data-reading], [data-step], [data-do], [data-whole]');
  if (!target) return;
  if (target.dataset.step) step(Number(target.dataset.step));
  else if (target.dataset.reading) open(list.findIndex((button) => button.dataset.reading === target.dataset.reading));
  else if (target.dataset.do === 'decide') decide();
  else if (target.dataset.do === 'illegible') decide(true);
  else if (target.dataset.do === 'zoom') look();
  else if (target.dataset.whole !== undefined) {
    const number = document.getElementById('number');
    number.value = target.dataset.whole;
    number.focus();
  }
});
panel.addEventListener('input', () => {
  asWritten = false;
  key = crypto.randomUUID();
});

// The field with a little around it, from the scan: its crop holds no more than the form's pixels.
function look() {
  const rect = boxOf(list[here]?.dataset.reading)?.querySelector('rect');
  let url = null;
  if (rect) {
    const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((name) => Number(rect.getAttribute(name)));
    const more = Math.round(height / 4);
    url = `${location.pathname}/region.webp?left=${x - more}&top=${y - more}&right=${x + width + more}&bottom=${y + height + more}&scale=3`;
  }
  enlarge(panel.querySelector('.paper img'), url);
}

const act = { next: () => step(1), previous: () => step(-1), zoom: look };
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const does = action('document', event);
  if (event.target.id === 'number') {
    if (event.key === 'Enter') {
      event.preventDefault();
      decide();
    } else if (event.key === 'Escape') list[here].focus();
    else if (does && 'plain' in event.target.dataset) { // no letter is ever typed there
      event.preventDefault();
      act[does]();
    }
    return;
  }
  if (event.target.matches('input, select')) return;
  act[does]?.();
});
zoom.addEventListener('change', () => {
  if (!sheet) return;
  sheet.style.width = `${zoom.value}%`;
  const image = sheet.querySelector('img');
  const wanted = `${location.pathname}/image.webp${Number(zoom.value) > 100 ? '?scale=2' : ''}`;
  if (image.getAttribute('src') !== wanted) image.src = wanted;
});
if (location.hash.startsWith('#f')) open(list.findIndex((button) => `#${button.id}` === location.hash));

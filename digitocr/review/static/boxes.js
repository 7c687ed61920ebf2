// The page with its boxes: go from doubt to doubt, open a field beside the page, decide it.

import { csrf, say, words } from './page.js';

const panel = document.getElementById('panel');
const list = [...document.querySelectorAll('.fields button')];
const sheet = document.getElementById('sheet');
const zoom = document.getElementById('zoom');
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
  box?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
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
    number.focus();
    number.select();
  }
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
document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.id === 'number') {
    if (event.key === 'Enter') {
      event.preventDefault();
      decide();
    } else if (event.key === 'Escape') list[here].focus();
    else if (/^[nNpP]$/.test(event.key)) {
      event.preventDefault();
      step(event.key.toLowerCase() === 'n' ? 1 : -1);
    }
    return;
  }
  if (event.target.matches('input, select')) return;
  if (event.key === 'n' || event.key === 'N') step(1);
  else if (event.key === 'p' || event.key === 'P') step(-1);
});
zoom.addEventListener('change', () => {
  if (sheet) sheet.style.width = `${zoom.value}%`;
});
if (location.hash.startsWith('#f')) open(list.findIndex((button) => `#${button.id}` === location.hash));

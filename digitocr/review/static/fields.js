// Fields: single digits and whole numbers, confirmed, corrected, keyed blind, or left for later.
//
// What comes after is claimed, and its pictures loaded, while this is looked at. What was typed
// is kept in sessionStorage by claim until it is saved.

import { action, digitOf, enlarge, hold, post, say, showKeys, words, worked } from './page.js';

const sheet = document.getElementById('sheet');
const SLIP_MS = 250; // an Enter this soon, with nothing typed, was meant for the field before
const TOLD_MS = 1500; // so long a refusal can be read before the next field comes

let form = null; // null: nothing waits
let digits = [];
let fields = [];
let first = new Map(); // what each field held when it came
let screen = '';
let since = 0;
let asWritten = false;
let touched = false;
let saving = false;
let ahead = null; // { holder, form, made }: what comes next, claimed already, or being so
let timer = 0;

const blind = () => 'blind' in form.dataset;
const typedKey = () => `digitocr:typed:${form.dataset.claim}`;
const broken = () => form.querySelector('[data-broken]');

function start() {
  form = sheet.querySelector('#form');
  if (!form) {
    history.replaceState(null, '', location.pathname);
    sheet.querySelector('a')?.focus();
    return;
  }
  screen = form.dataset.screen;
  digits = [...form.querySelectorAll('[data-digit]')];
  fields = [...form.querySelectorAll('[data-place], [data-reading]')];
  first = new Map(fields.map((field) => [field, field.value]));
  asWritten = false;
  touched = false;
  restore();
  showKeys(form);
  history.replaceState(null, '', `${location.pathname}?claim=${form.dataset.claim}`);
  const doubtful = digits.find((digit) => 'unsure' in digit.dataset);
  if (doubtful) select(doubtful);
  else fields[0].focus();
  since = performance.now();
  sheet.dataset.ready = form.dataset.claim;
}

// What was typed before a reload.
function restore() {
  const kept = JSON.parse(sessionStorage.getItem(typedKey()) ?? 'null');
  if (kept?.length !== fields.length + digits.length) return;
  for (const [place, field] of [...fields, ...digits].entries()) field.value = kept[place];
}

function keep() {
  sessionStorage.setItem(typedKey(), JSON.stringify([...fields, ...digits].map((field) => field.value)));
}

// What is a part of the form and takes longer than the form: where the field stands on its page.
async function load(holder) {
  const part = holder.querySelector('[data-load]');
  if (part) {
    const answer = await fetch(part.dataset.load).catch(() => null);
    if (answer?.ok) part.innerHTML = await answer.text();
    else part.textContent = answer === null ? 'The server does not answer.' : await words(answer);
  }
  await Promise.all([...holder.querySelectorAll('img')].map((image) => image.decode().catch(() => {})));
}

function claimAhead() {
  if (ahead || !form) return;
  ahead = { holder: null, form: null };
  ahead.made = claimNext(ahead);
}

async function claimNext(mine) {
  const answer = await post(`${screen}/next`);
  if (!answer?.ok) return;
  const holder = document.createElement('div');
  holder.innerHTML = await answer.text();
  mine.form = holder.querySelector('#form');
  mine.holder = holder;
  load(holder).then(() => {
    if (ahead === mine) sheet.dataset.ahead = mine.form?.dataset.claim ?? 'none';
  });
}

function later(ms) {
  clearTimeout(timer);
  timer = setTimeout(claimAhead, ms);
}

// What was just saved goes, and what was claimed ahead comes.
async function advance(waiting) {
  clearTimeout(timer);
  await ahead?.made;
  let holder = ahead?.holder;
  if (!holder?.querySelector('#form')) {
    // Nothing was free while this was held; ask again now that it is saved.
    const next = await post(`${screen}/next`);
    holder = document.createElement('div');
    holder.innerHTML = next?.ok ? await next.text() : '<p class="done">The server does not answer. Reload to go on.</p>';
    load(holder);
  }
  ahead = null;
  delete sheet.dataset.ahead;
  sheet.replaceChildren(...holder.childNodes);
  const line = sheet.querySelector('[data-waiting]');
  if (line && waiting) line.textContent = waiting;
  start();
  saving = false;
  later(30);
}

function pause(ms) {
  return new Promise((done) => { setTimeout(done, ms); });
}

function changed() {
  touched = true;
  asWritten = false;
  broken().textContent = '';
  keep();
}

function spell() {
  fields[0].value = digits.map((digit) => digit.value).join('');
  changed();
}

function select(digit) {
  digit?.focus();
  digit?.select();
}

function nextUnsure(from) {
  const next = digits.slice(digits.indexOf(from) + 1).find((digit) => 'unsure' in digit.dataset);
  if (next) select(next);
  else form.querySelector('[data-do="save"]').focus();
}

function type(digit, value) {
  digit.value = value;
  spell();
  nextUnsure(digit);
}

// What is said of each field: by its place in the claim, or, beside it, by its reading.
function said(illegible) {
  const body = { said: {}, beside: {}, as_written: asWritten, ms: Math.round(performance.now() - since) };
  for (const field of fields) {
    const box = field.id && form.querySelector(`[data-illegible="${field.id}"]`);
    const one = { text: field.value, illegible: Boolean(illegible || box?.checked) };
    if (blind() && field.value.trim() === '?') Object.assign(one, { text: '', illegible: true });
    if (field.dataset.place !== undefined) body.said[field.dataset.place] = one;
    else if (field.value !== first.get(field)) body.beside[field.dataset.reading] = one;
  }
  return body;
}

async function save({ skip = false, illegible = false } = {}) {
  if (saving) return;
  saving = true;
  const { claim } = form.dataset;
  // Its place in the queue is lost by saving nothing of it.
  const answer = await post(`/claims/${claim}/${form.dataset.save}`, skip ? { said: {} } : said(illegible));
  if (answer?.ok) {
    sessionStorage.removeItem(typedKey());
    if (!skip) {
      worked();
      sessionStorage.setItem('digitocr:last-field', JSON.stringify([claim, screen]));
    }
    say(skip ? 'Left for later.' : 'Saved.', 'good');
    await advance((await answer.json()).waiting);
  } else if (answer?.status === 409) {
    sessionStorage.removeItem(typedKey());
    say(await words(answer), 'bad');
    await pause(TOLD_MS);
    await advance();
  } else if (answer?.status === 422) {
    const found = await answer.json();
    const message = typeof found.message === 'string' ? found.message : 'Type digits only.';
    broken().textContent = found.broken ? `${message} Enter again: it is written like that.` : message;
    asWritten = Boolean(found.broken);
    if (found.place !== undefined) fields[found.place].focus();
    saving = false;
  } else {
    say(await words(answer), 'bad');
    saving = false;
  }
}

async function back() {
  const [claim, where] = JSON.parse(sessionStorage.getItem('digitocr:last-field') ?? '[]');
  if (!claim || where !== screen) {
    say('There is no saved field to go back to.');
    return;
  }
  const answer = await post(`/claims/${claim}/undo`);
  if (!answer?.ok) {
    say(await words(answer), 'bad');
    return;
  }
  sessionStorage.removeItem('digitocr:last-field');
  location.href = `${where}?claim=${(await answer.json()).claim}`;
}

sheet.addEventListener('input', (event) => {
  const field = event.target;
  if (field.matches('[data-digit]')) {
    field.value = field.value.replace(/[^0-9]/g, '').slice(-1);
    spell();
    if (field.value) nextUnsure(field);
  } else changed();
});

const actions = {
  save: () => save(),
  skip: () => save({ skip: true }),
  illegible: () => save({ illegible: true }),
  blank: () => {
    fields[0].value = '';
    changed();
    save();
  },
  'as-written': () => {
    asWritten = true;
    save();
  },
  zoom: () => enlarge(form.querySelector('img.crop'), `/claims/${form.dataset.claim}/place/0.webp?scale=3`),
  back,
};

sheet.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button || saving) return;
  if (button.dataset.chip) {
    type(button.closest('.digit').querySelector('input'), button.dataset.chip);
  } else if ('whole' in button.dataset) {
    fields[0].value = button.dataset.whole;
    changed();
    fields[0].focus();
  } else if (button.dataset.set) {
    document.getElementById(button.dataset.set).value = button.dataset.text;
    changed();
  } else if (button.dataset.offer !== undefined) {
    for (const part of button.dataset.offer.split(';')) {
      const [name, text] = part.split('=');
      form.querySelector(`[data-name="${name}"]`).value = text;
    }
    changed();
    form.querySelector('[data-do="save"]').focus();
  }
  actions[button.dataset.do]?.();
});

function onEnter(event) {
  if (event.target.matches('button') && event.target.dataset.do !== 'save') return;
  event.preventDefault();
  // A key that is held down, or was meant for the field before, confirms nothing.
  if (event.repeat || (!touched && performance.now() - since < SLIP_MS)) return;
  const at = fields.indexOf(event.target);
  if (event.ctrlKey) save({ skip: true });
  else if (blind() && at >= 0 && at < fields.length - 1) fields[at + 1].focus();
  else save();
}

sheet.addEventListener('keydown', (event) => {
  if (!form) return;
  if (saving) {
    if (!event.ctrlKey && !event.metaKey && event.key !== 'Tab') event.preventDefault();
    return;
  }
  if (event.key === 'Enter') {
    onEnter(event);
    return;
  }
  const does = action('field', event);
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const [whole] = fields;
  if (event.target === whole && 'plain' in whole.dataset) {
    // No letter is ever typed there; a minus may be, in a date.
    if (does === 'illegible') save({ illegible: true });
    else if (does === 'zoom') actions.zoom();
    else return;
    event.preventDefault();
    return;
  }
  const digit = event.target.matches('[data-digit]') ? event.target : null;
  const place = digits.indexOf(digit);
  if (!digit) return;
  if (event.key === 'ArrowLeft') select(digits[Math.max(0, place - 1)]);
  else if (event.key === 'ArrowRight') select(digits[Math.min(digits.length - 1, place + 1)]);
  else if (event.key === 'Backspace') select(digits[Math.max(0, place - 1)]);
  else if (digitOf(event) !== null) type(digit, digitOf(event));
  else if (does === 'same') nextUnsure(digit);
  else if (does === 'illegible') save({ illegible: true });
  else if (does === 'zoom') actions.zoom();
  else if (does === 'blank') actions.blank();
  else return;
  event.preventDefault();
});

hold(() => [form, ahead?.form].filter(Boolean));
start();
if (form) {
  load(sheet);
  later(300);
}

// Fields: single digits and whole numbers, confirmed, corrected, keyed blind, or left for later.

import { action, enlarge, hold, post, say, words, worked } from './page.js';

const form = document.getElementById('form');

function begin() {
  const digits = [...form.querySelectorAll('[data-digit]')];
  const fields = [...form.querySelectorAll('[data-place], [data-reading]')];
  const whole = fields[0];
  const broken = form.querySelector('[data-broken]');
  const blind = 'blind' in form.dataset;
  const since = performance.now();
  const first = new Map(fields.map((field) => [field, field.value]));
  let asWritten = false;
  let saving = false;
  let left = false;

  history.replaceState(null, '', `${location.pathname}?claim=${form.dataset.claim}`);
  hold(() => (left ? [] : [form]));

  function changed() {
    asWritten = false;
    broken.textContent = '';
  }

  function spell() {
    whole.value = digits.map((digit) => digit.value).join('');
    changed();
  }

  function select(digit) {
    digit?.focus();
    digit?.select();
  }

  function nextUnsure(from) {
    const place = digits.indexOf(from);
    const next = digits.slice(place + 1).find((digit) => 'unsure' in digit.dataset);
    if (next) select(next);
    else form.querySelector('[data-do="save"]').focus();
  }

  async function save({ skip = false, illegible = false } = {}) {
    if (saving) return;
    saving = true;
    if (skip) {
      // Its place in the queue is lost by saving nothing of it.
      await post(`/claims/${form.dataset.claim}/${form.dataset.save}`, { said: {} });
      left = true;
      location.href = form.dataset.next;
      return;
    }
    const body = { said: {}, beside: {}, as_written: asWritten, ms: Math.round(performance.now() - since) };
    for (const field of fields) {
      const box = field.id && form.querySelector(`[data-illegible="${field.id}"]`);
      const one = { text: field.value, illegible: Boolean(illegible || box?.checked) };
      if (blind && field.value.trim() === '?') Object.assign(one, { text: '', illegible: true });
      if (field.dataset.place !== undefined) body.said[field.dataset.place] = one;
      else if (field.value !== first.get(field)) body.beside[field.dataset.reading] = one;
    }
    const answer = await post(`/claims/${form.dataset.claim}/${form.dataset.save}`, body);
    if (answer?.ok) {
      worked();
      sessionStorage.setItem('digitocr:last-field', JSON.stringify([form.dataset.claim, form.dataset.next]));
      left = true;
      location.href = form.dataset.next;
      return;
    }
    saving = false;
    if (answer?.status === 409) {
      say(await words(answer), 'bad');
      left = true;
      setTimeout(() => { location.href = form.dataset.next; }, 1500);
    } else if (answer?.status === 422) {
      const found = await answer.json();
      const message = typeof found.message === 'string' ? found.message : 'Type digits only.';
      broken.textContent = found.broken ? `${message} Enter again: it is written like that.` : message;
      asWritten = Boolean(found.broken);
      if (found.place !== undefined) fields[found.place].focus();
    } else say(await words(answer), 'bad');
  }

  async function back() {
    const [claim, where] = JSON.parse(sessionStorage.getItem('digitocr:last-field') ?? '[]');
    if (!claim || where !== form.dataset.next) {
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

  form.addEventListener('input', (event) => {
    const field = event.target;
    if (field.matches('[data-digit]')) {
      field.value = field.value.replace(/[^0-9]/g, '').slice(-1);
      spell();
      if (field.value) nextUnsure(field);
    } else changed();
  });

  form.addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (!button) return;
    if (button.dataset.chip) {
      const digit = button.closest('.digit').querySelector('input');
      digit.value = button.dataset.chip;
      spell();
      nextUnsure(digit);
    } else if ('whole' in button.dataset) {
      whole.value = button.dataset.whole;
      changed();
      whole.focus();
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
    const actions = {
      save: () => save(),
      skip: () => save({ skip: true }),
      illegible: () => save({ illegible: true }),
      blank: () => {
        whole.value = '';
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
    actions[button.dataset.do]?.();
  });

  form.addEventListener('keydown', (event) => {
    const digit = event.target.matches('[data-digit]') ? event.target : null;
    const place = digits.indexOf(digit);
    if (event.key === 'Enter') {
      if (event.target.matches('button') && event.target.dataset.do !== 'save') return;
      event.preventDefault();
      const at = fields.indexOf(event.target);
      if (event.ctrlKey) save({ skip: true });
      else if (blind && at >= 0 && at < fields.length - 1) fields[at + 1].focus();
      else save();
      return;
    }
    const does = action('field', event);
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === whole && 'plain' in whole.dataset) {
      // No letter is ever typed there; a minus may be, in a date.
      if (does === 'illegible') save({ illegible: true });
      else if (does === 'zoom') form.querySelector('[data-do="zoom"]')?.click();
      else return;
      event.preventDefault();
      return;
    }
    if (!digit) return;
    if (event.key === 'ArrowLeft') select(digits[Math.max(0, place - 1)]);
    else if (event.key === 'ArrowRight') select(digits[Math.min(digits.length - 1, place + 1)]);
    else if (event.key === 'Backspace') select(digits[Math.max(0, place - 1)]);
    else if (does === 'same') nextUnsure(digit);
    else if (does === 'illegible') save({ illegible: true });
    else if (does === 'zoom') form.querySelector('[data-do="zoom"]')?.click();
    else if (does === 'blank') form.querySelector('[data-do="blank"]').click();
    else return;
    event.preventDefault();
  });

  const start = digits.find((digit) => 'unsure' in digit.dataset);
  if (start) select(start);
  else whole.focus();
}

if (form) begin();

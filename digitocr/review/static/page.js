// What all pages share: changes sent with the session's token, words for the person, help.

export const csrf = document.querySelector('meta[name="csrf"]').content;

export function say(words, kind = '') {
  const line = document.getElementById('said');
  line.textContent = words;
  line.className = `said ${kind}`;
}

// Sends a change. Gives the answer, or null when nobody answered: then nothing was lost here.
export async function post(url, body, { keepalive = false } = {}) {
  const headers = { 'X-CSRF': csrf };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  try {
    return await fetch(url, {
      method: 'POST',
      headers,
      keepalive,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    return null;
  }
}

export async function words(answer) {
  if (answer === null) return 'Not saved: the server does not answer. What you said is kept here; Enter tries again.';
  const text = await answer.text();
  try {
    const found = JSON.parse(text);
    return found.message ?? 'Not saved: what was sent is not as it should be. Reload the page.';
  } catch {
    return text.length < 300 ? text : `Not saved (${answer.status}).`;
  }
}

// Shows a field as large as its scan lets it be seen, or as it was; without a scan, its crop larger.
export function enlarge(image, url) {
  if (!image) return;
  const large = image.classList.toggle('large');
  image.dataset.crop ??= image.getAttribute('src');
  image.onerror = () => {
    image.onerror = null;
    image.src = image.dataset.crop;
  };
  image.src = large && url ? url : image.dataset.crop;
}

// Keeps claims while their page can be seen, and gives them back when it is left. A claim is held
// by an element with its id and the end of its lease: a page that was loaded anew has another end,
// and what the old one gives back late is then not taken from it.
export function hold(current) {
  setInterval(async () => {
    if (document.visibilityState !== 'visible') return;
    for (const { dataset } of current()) {
      const answer = await post(`/claims/${dataset.claim}/renew`);
      if (answer?.ok) dataset.until = (await answer.json()).until ?? dataset.until;
    }
  }, 60000);
  addEventListener('pagehide', () => {
    for (const { dataset } of current()) {
      post(`/claims/${dataset.claim}/release`, { until: dataset.until }, { keepalive: true });
    }
  });
}

document.addEventListener('htmx:configRequest', (event) => {
  event.detail.headers['X-CSRF'] = csrf;
});
document.addEventListener('htmx:responseError', (event) => {
  const text = event.detail.xhr.responseText;
  let message = text;
  try {
    message = JSON.parse(text).message ?? 'That cannot be done with what was typed.';
  } catch { /* plain words */ }
  say(message, 'bad');
});
document.addEventListener('htmx:sendError', () => say('The server does not answer.', 'bad'));

// Which key does what: as delivered, and as someone has it in this browser. Digits, arrows, Tab,
// Enter, Esc and Backspace stay as they are.
const DELIVERED = {
  group: { unsure: ' ', blank: '-', none: 'Delete', context: 'c', mode: 'm' },
  field: { same: ' ', illegible: 'i', blank: '-', zoom: 'z' },
  document: { next: 'n', previous: 'p', zoom: 'z' },
};
const FIXED = /^([0-9?]|Arrow.*|Tab|Enter|Escape|Backspace|Home|End|Shift|Control|Alt|AltGraph|Meta|CapsLock|NumLock|Dead|Process|Unidentified)$/;
const NAMES = { ' ': 'Space', Delete: 'Del' };

function chosen() {
  try {
    return JSON.parse(localStorage.getItem('digitocr:keys')) ?? {};
  } catch {
    return {};
  }
}

function keyFor(screen, name) {
  return chosen()[`${screen}.${name}`] ?? DELIVERED[screen][name];
}

function pressed(event) {
  return event.key.length === 1 ? event.key.toLowerCase() : event.key;
}

// The name of what a key does on a screen, or undefined.
export function action(screen, event) {
  const key = pressed(event);
  return Object.keys(DELIVERED[screen]).find((name) => keyFor(screen, name) === key);
}

// The digit of a key, also of other scripts and of layouts whose digits want Shift.
export function digitOf(event) {
  if (/^[0-9]$/.test(event.key)) return event.key;
  const code = event.key.length === 1 ? event.key.codePointAt(0) : 0;
  for (const zero of [0x660, 0x6f0, 0x966]) {
    if (code >= zero && code <= zero + 9) return String(code - zero);
  }
  return /^(Digit|Numpad)[0-9]$/.test(event.code) && event.key.length === 1 ? event.code.slice(-1) : null;
}

// Writes the keys as they are chosen into a part of the page.
export function showKeys(part = document) {
  for (const place of part.querySelectorAll('[data-does]')) {
    const key = keyFor(...place.dataset.does.split('.'));
    place.textContent = NAMES[key] ?? (key.length === 1 ? key.toUpperCase() : key);
  }
}

function choose(button) {
  const [screen, name] = button.dataset.change.split('.');
  const hint = document.getElementById('help-said');
  hint.textContent = 'Press the key for it; Esc leaves it as it is.';
  function listen(event) {
    if (/^(Shift|Control|Alt|Meta)$/.test(event.key)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    removeEventListener('keydown', listen, true);
    const key = pressed(event);
    const taken = Object.keys(DELIVERED[screen]).find((one) => one !== name && keyFor(screen, one) === key);
    if (event.key === 'Escape') hint.textContent = '';
    else if (FIXED.test(event.key) || event.ctrlKey || event.altKey || event.metaKey) hint.textContent = 'That key has its work on every page already: nothing was changed.';
    else {
      const all = chosen();
      // Who had the key gets the one that is free now: none is left without.
      if (taken) all[`${screen}.${taken}`] = keyFor(screen, name);
      all[`${screen}.${name}`] = key;
      localStorage.setItem('digitocr:keys', JSON.stringify(all));
      hint.textContent = taken ? 'Changed; the two keys have changed places.' : 'Changed, in this browser.';
      showKeys();
    }
    button.focus();
  }
  addEventListener('keydown', listen, true);
}

const help = document.getElementById('help');
function showHelp() {
  if (!help.open) help.showModal();
}
document.querySelector('[data-help]').addEventListener('click', showHelp);
help.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (button?.dataset.change) choose(button);
  else if (button && 'delivered' in button.dataset) {
    localStorage.removeItem('digitocr:keys');
    document.getElementById('help-said').textContent = 'All keys are as delivered.';
    showKeys();
  }
});
for (const place of help.querySelectorAll('[data-does]')) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'quiet';
  button.textContent = 'Change';
  button.dataset.change = place.dataset.does;
  const row = place.closest('tr');
  button.setAttribute('aria-label', `Change the key: ${row.cells[1].textContent}`);
  row.insertCell().append(button);
  help.querySelector('[data-delivered]').hidden = false;
}
document.addEventListener('keydown', (event) => {
  const typing = event.target.matches('input:not([data-digit]), textarea, select');
  if (event.key === '?' && !typing) {
    event.preventDefault();
    showHelp();
  }
});
showKeys();

// Half an hour of saving without a pause of five minutes: a word, that takes nothing away.
const PAUSE_MS = 5 * 60000;
const WORK_MS = 30 * 60000;
const pause = document.getElementById('pause');

function worktime() {
  try {
    return JSON.parse(localStorage.getItem('digitocr:work')) ?? {};
  } catch {
    return {};
  }
}

export function worked() {
  const now = Date.now();
  const { since = now, last = now, due = false } = worktime();
  const rested = now - last > PAUSE_MS;
  const work = { since: rested ? now : since, last: now, due: rested ? false : due || now - since > WORK_MS };
  localStorage.setItem('digitocr:work', JSON.stringify(work));
  pause.hidden = !work.due;
}

pause.querySelector('button').addEventListener('click', () => {
  localStorage.setItem('digitocr:work', JSON.stringify({ since: Date.now(), last: Date.now() }));
  pause.hidden = true;
});
const { due: tired = false, last: saved = 0 } = worktime();
pause.hidden = !tired || Date.now() - saved > PAUSE_MS;

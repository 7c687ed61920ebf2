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

const help = document.getElementById('help');
function showHelp() {
  if (!help.open) help.showModal();
}
document.querySelector('[data-help]').addEventListener('click', showHelp);
document.addEventListener('keydown', (event) => {
  const typing = event.target.matches('input:not([data-digit]), textarea, select');
  if (event.key === '?' && !typing) {
    event.preventDefault();
    showHelp();
  }
});

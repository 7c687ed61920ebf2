// A pad for mouse, pen and touch; pictures by file, paste or drop. Each is sent as a picture.

import { csrf, say, words } from './page.js';

const pad = document.getElementById('pad');
const answer = document.getElementById('answer');
const pen = pad.getContext('2d');
let strokes = [];
let current = null;
let latest = 0;
let last = null; // the picture that was sent last

function paint() {
  pen.fillStyle = '#fff';
  pen.fillRect(0, 0, pad.width, pad.height);
  pen.strokeStyle = '#111';
  pen.lineWidth = 34;
  pen.lineCap = 'round';
  pen.lineJoin = 'round';
  for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke) pen.lineTo(...point);
    pen.lineTo(stroke.at(-1)[0] + 0.1, stroke.at(-1)[1]);
    pen.stroke();
  }
}

function at(event) {
  const box = pad.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * pad.width, ((event.clientY - box.top) / box.height) * pad.height];
}

async function read(picture) {
  latest += 1;
  const mine = latest;
  const size = picture.size ?? 0;
  if (size > 10_000_000) {
    say('That is larger than 10 MB: choose a smaller picture.', 'bad');
    return;
  }
  last = picture;
  let found = null;
  try {
    found = await fetch('/try/digit', { method: 'POST', headers: { 'X-CSRF': csrf }, body: picture });
  } catch { /* said below */ }
  if (mine !== latest) return;
  if (!found?.ok) {
    say(found === null ? 'The server does not answer.' : await words(found), 'bad');
    return;
  }
  say('');
  answer.innerHTML = await found.text();
}

function readPad() {
  if (!strokes.length) {
    answer.innerHTML = '';
    last = null;
    return;
  }
  pad.toBlob((blob) => read(blob), 'image/png');
}

pad.addEventListener('pointerdown', (event) => {
  pad.setPointerCapture(event.pointerId);
  current = [at(event)];
  strokes.push(current);
  paint();
  event.preventDefault();
});
pad.addEventListener('pointermove', (event) => {
  if (!current) return;
  current.push(at(event));
  paint();
});
for (const name of ['pointerup', 'pointercancel']) {
  pad.addEventListener(name, () => {
    if (!current) return;
    current = null;
    readPad();
  });
}

function undo() {
  strokes.pop();
  paint();
  readPad();
}

document.querySelector('[data-do="clear"]').addEventListener('click', () => {
  strokes = [];
  paint();
  readPad();
});
document.querySelector('[data-do="keep"]').addEventListener('click', async () => {
  const label = document.getElementById('label');
  if (!last) say('Draw a digit first, or choose a picture of one.', 'bad');
  else if (!label.value) say('Say which digit it is.', 'bad');
  else {
    const found = await fetch(`/try/keep?label=${label.value}`, { method: 'POST', headers: { 'X-CSRF': csrf }, body: last }).catch(() => null);
    if (!found?.ok) {
      say(found === null ? 'Not kept: the server does not answer.' : await words(found), 'bad');
      return;
    }
    const { kept } = await found.json();
    say(`Kept; ${kept} in all, for the next retraining.`, 'good');
    label.value = '';
    last = null;
  }
});
document.querySelector('[data-do="undo"]').addEventListener('click', undo);
addEventListener('keydown', (event) => {
  if (event.ctrlKey && event.key.toLowerCase() === 'z') {
    event.preventDefault();
    undo();
  }
});
document.getElementById('file').addEventListener('change', (event) => {
  const [file] = event.target.files;
  if (file) read(file);
});
addEventListener('paste', (event) => {
  const [file] = event.clipboardData.files;
  if (file) read(file);
});
addEventListener('dragover', (event) => event.preventDefault());
addEventListener('drop', (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) read(file);
});
paint();

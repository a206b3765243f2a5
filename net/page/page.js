// The tracker's page: asks the API each second while somebody looks, and draws what it says. Text from
// outside is only ever set as text.
'use strict';

const kAskEvery = 1000;
const kAskAgainAfter = 3000; // where the tracker did not answer
const kColumns = 64;
const kMaxLeft = 200; // peers that have left and are still drawn
const kLabelWidth = 150; // of a picture's line, where there is room for it

const element = (id) => document.getElementById(id);
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let shown = null; // the id of the swarm that is shown; null: the list
let last = null; // what was drawn last, to draw again when the window changes
let members = new Map(); // of the swarm that is shown, by id; those that left too
let timer = 0;
let asking = 0; // the number of the last question: an answer to an earlier one is dropped

// ---- words ----

function scaled(number, step, units) {
  let unit = 0;
  while (number >= step && unit < units.length - 1) {
    number /= step;
    ++unit;
  }
  const digits = number >= 100 || unit === 0 ? 0 : number >= 10 ? 1 : 2;
  return `${number.toFixed(digits)} ${units[unit]}`;
}

const bytesText = (bytes) => scaled(bytes, 1024, ['B', 'KiB', 'MiB', 'GiB', 'TiB']);
const rateText = (rate) => scaled(rate, 1000, ['B/s', 'kB/s', 'MB/s', 'GB/s']);

function timeText(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.round(seconds / 60) % 60} min`;
}

// Never 100 % before all is there.
const percentText = (share) => share === null ? 'not known' : `${share >= 1 ? 100 : Math.min(99, Math.floor(share * 100))} %`;
const titleOf = (swarm) => swarm.name || `swarm ${swarm.id.slice(0, 8)}`;
const count = (number, one, many) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;

function limitText(swarm) {
  if (!swarm.limit || swarm.fetching === 0) return '';
  return `${Math.min(100, Math.round(100 * swarm.down / swarm.limit))} %`;
}

// ---- elements ----

function make(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// Only where it changed: what is selected or read aloud stays.
function setText(of, text) {
  if (of.textContent !== text) of.textContent = text;
}

function makeShare() {
  const share = make('div', undefined, 'share');
  const track = make('i');
  track.append(make('b'));
  share.append(track, make('span'));
  return share;
}

function setShare(share, part) {
  share.querySelector('b').style.width = `${100 * (part || 0)}%`;
  setText(share.querySelector('span'), percentText(part));
}

// Rows by key, in this order; those of other keys go.
function syncRows(body, keys, makeRow) {
  const rows = new Map([...body.children].map((row) => [row.dataset.key, row]));
  keys.forEach((key, i) => {
    let row = rows.get(key);
    rows.delete(key);
    if (!row) {
      row = makeRow(key);
      row.dataset.key = key;
    }
    if (body.children[i] !== row) body.insertBefore(row, body.children[i] || null);
  });
  for (const row of rows.values()) row.remove();
}

function cell(row, name, className) {
  const made = make('td', undefined, className);
  if (name) made.dataset.name = name;
  row.append(made);
  return made;
}

// ---- pictures ----

// The canvas at the screen's resolution; null while it is not shown.
function brush(canvas, height) {
  if (height) canvas.style.height = `${height}px`;
  const scale = window.devicePixelRatio || 1;
  const width = Math.round(canvas.clientWidth * scale);
  const tall = Math.round(canvas.clientHeight * scale);
  if (width === 0 || tall === 0) return null;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== tall) canvas.height = tall;
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, tall);
  return { context, width: canvas.clientWidth, height: canvas.clientHeight };
}

function drawCurve(canvas, points, withAxes) {
  const area = brush(canvas);
  if (!area) return;
  const { context, width, height } = area;
  const left = withAxes ? 44 : 1, right = withAxes ? 12 : 1;
  const top = withAxes ? 12 : 2, bottom = withAxes ? 24 : 2;
  const span = Math.max(points.length ? points[points.length - 1][0] : 0, 1);
  const x = (seconds) => left + seconds / span * (width - left - right);
  const y = (share) => height - bottom - share * (height - top - bottom);
  if (withAxes) {
    context.font = '12px system-ui, sans-serif';
    context.fillStyle = style('--soft');
    context.strokeStyle = style('--line');
    context.lineWidth = 1;
    for (const share of [0, 0.5, 1]) {
      context.textAlign = 'right';
      context.textBaseline = 'middle';
      context.fillText(`${100 * share} %`, left - 6, y(share));
      context.beginPath();
      context.moveTo(left, y(share));
      context.lineTo(width - right, y(share));
      context.stroke();
    }
    context.textBaseline = 'alphabetic';
    context.textAlign = 'left';
    context.fillText('0 s', left, height - 7);
    context.textAlign = 'right';
    if (points.length > 1) context.fillText(timeText(span), width - right, height - 7);
  }
  if (points.length === 0) return;
  const colour = style('--full');
  context.beginPath();
  points.forEach(([seconds, share], i) => i ? context.lineTo(x(seconds), y(share)) : context.moveTo(x(seconds), y(share)));
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.lineJoin = 'round';
  context.stroke();
  context.lineTo(x(points[points.length - 1][0]), y(0));
  context.lineTo(x(points[0][0]), y(0));
  context.globalAlpha = 0.15;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
  if (points.length === 1) {
    context.beginPath();
    context.arc(x(points[0][0]), y(points[0][1]), 2.5, 0, 7);
    context.fill();
  }
}

function lineHeight(lines) {
  if (lines <= 24) return 18;
  if (lines <= 80) return 8;
  return 4;
}

function drawPicture(canvas, rows, chunks) {
  const tall = lineHeight(rows.length);
  const area = brush(canvas, Math.max(rows.length, 1) * tall + 16);
  if (!area) return;
  const { context, width } = area;
  const labelled = tall >= 18 && width > 520;
  const left = labelled ? kLabelWidth + 16 : 8;
  const columns = Math.min(kColumns, chunks || kColumns);
  const step = (width - left - 8) / columns;
  const gap = step >= 5 ? 1 : 0;
  const empty = style('--empty'), full = style('--full'), seed = style('--seed');
  context.font = '12px ui-monospace, monospace';
  context.textBaseline = 'middle';
  rows.forEach((peer, line) => {
    const y = 8 + line * tall;
    context.globalAlpha = 1;
    if (labelled) {
      context.fillStyle = style(peer.behind || peer.slow ? '--slow' : '--soft');
      context.fillText(peer.endpoint, 8, y + tall / 2, kLabelWidth);
    }
    for (let column = 0; column < columns; ++column) {
      const text = peer.columns.slice(2 * column, 2 * column + 2);
      const x = left + column * step;
      context.globalAlpha = peer.left ? 0.4 : 1;
      context.fillStyle = empty;
      context.fillRect(x, y, step - gap, tall - (tall > 4 ? 2 : 1));
      // Who does not report is known by how much it has, not by what.
      const share = text ? parseInt(text, 16) / 255 : peer.complete ? 1 : 0;
      if (share === 0) continue;
      context.globalAlpha *= share === 1 ? 1 : 0.2 + 0.6 * share;
      context.fillStyle = peer.seeds ? seed : full;
      context.fillRect(x, y, step - gap, tall - (tall > 4 ? 2 : 1));
    }
  });
  context.globalAlpha = 1;
  const whole = rows.filter((peer) => peer.complete).length;
  canvas.setAttribute('aria-label', `${count(rows.length, 'peer', 'peers')}, ${whole} of them complete; the table below has how much each has`);
}

// ---- the list ----

function makeSwarmRow(id) {
  const row = make('tr');
  const head = make('th');
  head.scope = 'row';
  const link = make('a');
  link.href = `#${id}`;
  head.append(link, make('small'));
  row.append(head);
  cell(row, '', 'wide').append(makeShare());
  const canvas = make('canvas');
  canvas.setAttribute('role', 'img');
  cell(row, '', 'wide').append(canvas);
  cell(row, 'Peers', 'number');
  cell(row, 'Rate', 'number');
  cell(row, 'Of the limit', 'number');
  return row;
}

function fillSwarmRow(row, swarm) {
  const [head, share, curve, peers, rate, limit] = row.children;
  setText(head.querySelector('a'), titleOf(swarm));
  setText(head.querySelector('small'), swarm.chunks ? bytesText(swarm.bytes) : swarm.name ? '' : 'size not told');
  share.querySelector('i').hidden = swarm.completion === null;
  if (swarm.completion === null) {
    setText(share.querySelector('span'), 'seeded');
  } else {
    setShare(share, swarm.completion);
  }
  const canvas = curve.firstChild;
  canvas.setAttribute('aria-label', swarm.completion === null ? 'nobody has fetched it yet' : `${percentText(swarm.completion)} fetched`);
  drawCurve(canvas, swarm.curve, false);
  setText(peers, swarm.peers.toLocaleString('en'));
  setText(rate, swarm.fetching && swarm.reporting ? rateText(swarm.down) : '\u2013');
  setText(limit, limitText(swarm) || '\u2013');
  // On a phone what is not known takes no room.
  curve.classList.toggle('none', swarm.curve.length === 0);
  for (const of of [rate, limit]) of.classList.toggle('none', of.textContent === '\u2013');
}

function drawList(data) {
  element('nobody').hidden = data.swarms.length > 0;
  element('swarms').hidden = data.swarms.length === 0;
  setText(element('totals'), `${count(data.swarm_count, 'swarm', 'swarms')}, ${count(data.peers, 'peer', 'peers')}, ${data.complete.toLocaleString('en')} complete`);
  const body = element('swarms').tBodies[0];
  syncRows(body, data.swarms.map((swarm) => swarm.id), makeSwarmRow);
  data.swarms.forEach((swarm, i) => fillSwarmRow(body.children[i], swarm));
  const unseen = data.swarm_count - data.swarms.length;
  element('more').hidden = unseen <= 0;
  setText(element('more'), `${count(unseen, 'more swarm is', 'more swarms are')} not shown: these have most fetchers.`);
}

// ---- one swarm ----

function secondsLeft(swarm) {
  let missing = 0;
  for (const peer of swarm.members)
    if (!peer.complete && peer.percent !== null) missing += (100 - peer.percent) / 100 * swarm.bytes;
  return swarm.down > 0 && swarm.bytes > 0 && missing > 0 ? missing / swarm.down : null;
}

function factsOf(swarm) {
  const facts = [['Fetched', swarm.completion === null ? 'nobody yet' : percentText(swarm.completion)]];
  facts.push(['Complete', `${swarm.finished.toLocaleString('en')} of ${count(swarm.fetchers, 'fetcher', 'fetchers')}`]);
  facts.push(['Seeders', swarm.seeders.toLocaleString('en')]);
  if (swarm.chunks) facts.push(['Size', bytesText(swarm.bytes)], ['Chunks', swarm.chunks.toLocaleString('en')]);
  if (swarm.reporting && swarm.fetching) {
    const part = swarm.reporting < swarm.peers ? ` from ${swarm.reporting} of ${swarm.peers}` : '';
    facts.push([`Throughput${part}`, rateText(swarm.down)]);
  }
  if (limitText(swarm)) facts.push(['Of the limit seen so far', limitText(swarm)]);
  const left = secondsLeft(swarm);
  if (left !== null && swarm.reporting === swarm.peers) facts.push(['Time left', `about ${timeText(left)}`]);
  return facts;
}

function drawFacts(swarm) {
  const list = element('facts');
  const facts = factsOf(swarm);
  while (list.children.length > facts.length) list.lastChild.remove();
  facts.forEach(([name, value], i) => {
    let fact = list.children[i];
    if (!fact) {
      fact = make('div');
      fact.append(make('dt'), make('dd'));
      list.append(fact);
    }
    setText(fact.firstChild, name);
    setText(fact.lastChild, value);
  });
}

function stateOf(peer) {
  if (peer.left) return [peer.complete ? 'left, complete' : 'left', 'left'];
  if (peer.seeds) return ['seeds', ''];
  if (peer.complete) return ['complete', ''];
  if (peer.behind && peer.slow) return ['slow and behind', 'slow'];
  if (peer.behind) return ['behind', 'slow'];
  if (peer.slow) return ['slow', 'slow'];
  return ['fetches', ''];
}

// Those that were here and are not any more stay, after those that are. Where as many have become
// complete as are new among the complete and have gone, those that have gone were complete.
function takeMembers(swarm) {
  const now = new Map(swarm.members.map((peer) => [peer.id, peer]));
  const going = [...members.values()].filter((peer) => !peer.left && !now.has(peer.id));
  const finishing = swarm.members.filter((peer) => peer.complete && !peer.seeds && !members.get(peer.id)?.complete);
  const unfinished = going.filter((peer) => !peer.complete);
  if (last && swarm.finished - last.finished >= finishing.length + unfinished.length)
    for (const peer of unfinished) Object.assign(peer, { complete: true, percent: 100, columns: '' });
  for (const [id, peer] of members)
    if (!now.has(id)) now.set(id, { ...peer, left: true, reports: false, behind: false, slow: false });
  const gone = [...now.values()].filter((peer) => peer.left);
  for (const peer of gone.slice(0, Math.max(0, gone.length - kMaxLeft))) now.delete(peer.id);
  // What is not reported this time was a moment ago.
  for (const [id, peer] of now)
    if (!peer.columns && !peer.complete && members.has(id)) peer.columns = members.get(id).columns;
  members = now;
}

function makeMemberRow() {
  const row = make('tr');
  const head = make('th');
  head.scope = 'row';
  row.append(head);
  cell(row, 'Zone');
  cell(row, '', 'wide').append(makeShare());
  cell(row, 'Receives', 'number');
  cell(row, 'Sends', 'number');
  cell(row, 'State');
  return row;
}

function fillMemberRow(row, peer) {
  const [head, zone, share, down, up, state] = row.children;
  row.className = peer.seeds ? 'seeds' : '';
  setText(head, peer.endpoint);
  setText(zone, peer.zone || '\u2013');
  zone.classList.toggle('none', !peer.zone);
  setShare(share, peer.percent === null ? null : peer.percent / 100);
  setText(down, peer.reports && !peer.complete ? rateText(peer.down) : '\u2013');
  setText(up, peer.reports ? rateText(peer.up) : '\u2013');
  for (const of of [down, up]) of.classList.toggle('none', of.textContent === '\u2013');
  const [text, className] = stateOf(peer);
  setText(state, text);
  state.className = className;
}

function drawSwarm(swarm) {
  const title = titleOf(swarm);
  document.title = `${title} - p2p tracker`;
  setText(element('name'), title);
  setText(element('id'), `swarm ${swarm.id}`);
  setText(element('totals'), count(swarm.peers, 'peer', 'peers'));
  drawFacts(swarm);
  const curve = element('curve');
  curve.setAttribute('aria-label', swarm.completion === null ? 'nobody has fetched it yet' : `${percentText(swarm.completion)} fetched after ${timeText(swarm.curve.length ? swarm.curve[swarm.curve.length - 1][0] : 0)}`);
  drawCurve(curve, swarm.curve, true);
  const rows = [...members.values()];
  drawPicture(element('picture'), rows, swarm.chunks);
  const body = element('members').tBodies[0];
  syncRows(body, rows.map((peer) => peer.id), makeMemberRow);
  rows.forEach((peer, i) => fillMemberRow(body.children[i], peer));
  const unseen = swarm.peers - swarm.members.length;
  element('sampled').hidden = unseen <= 0;
  setText(element('sampled'), `${count(unseen, 'more peer is', 'more peers are')} not shown: these are a sample.`);
}

// ---- asking ----

function draw() {
  if (last) (shown ? drawSwarm : drawList)(last);
}

function trouble(text) {
  element('trouble').hidden = !text;
  setText(element('trouble'), text);
}

async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  const question = ++asking;
  let wait = kAskEvery;
  try {
    const answer = await fetch(shown ? `api/swarms/${shown}` : 'api/swarms', { cache: 'no-store' });
    const data = answer.ok ? await answer.json() : null;
    if (question !== asking) return;
    if (data) {
      if (shown) takeMembers(data);
      last = data;
      trouble('');
      draw();
    } else {
      trouble(answer.status === 404 ? 'Nobody is in this swarm any more.' : `The tracker says ${answer.status}.`);
    }
  } catch (error) {
    if (question !== asking) return;
    trouble('The tracker does not answer. What is shown is old; it is asked again.');
    wait = kAskAgainAfter;
  }
  timer = setTimeout(ask, wait);
}

function show() {
  const id = location.hash.slice(1);
  shown = /^[0-9a-f]{64}$/.test(id) ? id : null;
  last = null;
  members = new Map();
  document.title = 'p2p tracker';
  element('list').hidden = shown !== null;
  element('swarm').hidden = shown === null;
  trouble('');
  ask();
}

window.addEventListener('hashchange', show);
window.addEventListener('resize', draw);
document.addEventListener('visibilitychange', ask);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
show();

// A server as web applications have it: `node server.js PORT OBJECTS-FROM LOG`. It serves a page with objects of its own and of
// another server, an event stream, a WebSocket, and answers that take longer than a reader's patience. It logs, a line each, the
// method and what a request came to.
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const crypto = require('node:crypto');
const [port, elsewhere, file] = process.argv.slice(2);

const log = (line) => fs.appendFileSync(file, `${line}\n`);

const page = `<!doctype html><title>test</title><body><script>
const loaded = (source) => new Promise((end) => {
  const image = new Image();
  image.onload = image.onerror = end;
  image.src = source;
});
const after = (ms) => new Promise((end) => setTimeout(end, ms));
(async () => {
  const round = Number(sessionStorage.getItem('round') || 0);
  const objects = [...Array(50).keys()];
  await Promise.all(objects.flatMap((i) => [
    loaded('${elsewhere}/ok?' + round + '-' + i), loaded('/object?' + round + '-' + i)]));
  const events = new EventSource('/events');
  const socket = new WebSocket('ws://' + location.host + '/socket');
  await Promise.all([new Promise((end) => { events.onmessage = end; }), new Promise((end) => { socket.onopen = end; })]);
  const patience = new AbortController();
  // Of these the browser sends as many as it has connections for.
  const slow = objects.slice(0, 25).map((i) => fetch('/slow?' + i, { signal: patience.signal }).catch(() => 0));
  await after(500);
  patience.abort();
  await Promise.all(slow);
  await after(1500);
  events.close();
  socket.close();
  sessionStorage.setItem('round', round + 1);
  if (round === 0) location.reload(); else await fetch('/done');
})();
</script>`;

const answer = (path, response) => {
  const plain = (status, type, text) => {
    response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' });
    response.end(text);
  };
  switch (path) {
    case '/': return plain(200, 'text/html', page);
    case '/object': return plain(200, 'text/plain', 'an object');
    case '/done': return plain(200, 'text/plain', 'done');
    case '/slow': return setTimeout(() => response.destroyed || plain(200, 'text/plain', 'late'), 30000).unref();
    case '/events': {
      response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
      const tick = setInterval(() => response.write('data: tick\n\n'), 100);
      return response.on('close', () => clearInterval(tick));
    }
    default: return plain(404, 'text/plain', 'nothing');
  }
};

const server = http.createServer((request, response) => {
  const path = request.url.split('?')[0];
  response.on('close', () => {
    log(`${request.method} ${response.headersSent ? response.statusCode : 'cancelled'} ${path}`);
  });
  answer(path, response);
});
server.on('upgrade', (request, socket) => {
  const key = request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const accept = crypto.createHash('sha1').update(key).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  log(`${request.method} 101 /socket`);
  // A close is answered by a close, and whatever else comes is thrown away.
  socket.on('data', (data) => { if ((data[0] & 15) === 8) socket.end(Buffer.from([0x88, 0])); });
  socket.on('error', () => {});
});
server.listen(Number(port), '127.0.0.1');

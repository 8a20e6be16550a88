// The peer `ws`: the loop that its documentation shows, on the library's fastest settings.
//
// node server.js PAYLOAD_FILE: says {"port":N}, sends the payload to everybody every 100 ms from the line "go" on.
"use strict";

const fs = require("node:fs");
const { WebSocketServer } = require("ws");

const payload = fs.readFileSync(process.argv[2]);
const stampAt = payload.indexOf('"ts":') + 5;
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false });

function send() {
  const message = Buffer.from(payload);
  message.write(String(Date.now()), stampAt, "latin1");
  for (const client of server.clients) {
    client.send(message, { binary: false });
  }
}

server.on("connection", (client) => {
  client.on("error", () => client.terminate());
});
server.on("listening", () => {
  process.stdout.write(`${JSON.stringify({ port: server.address().port })}\n`);
});
process.stdin.once("data", () => setInterval(send, 100));
process.stdin.on("end", () => process.exit(0));
setInterval(() => server.clients.forEach((client) => client.ping()), 25000);

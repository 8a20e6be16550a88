// A verified copy of the open day-ahead book. `follow` calls `show(book, note)` whenever either changes.
const TABLE = Int32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
  return n;
});

export function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return ~crc >>> 0;
}

export class Book {
  ep = ""; // the history that the levels belong to; empty: wait for a snapshot
  seq = 0; // the last event in them
  levels = new Map(); // of "slot,side,price": [slot, side, price, volume, bids]

  rows(slot) {
    const found = [...this.levels.values()].filter((level) => slot === undefined || level[0] === slot);
    return found.sort((a, b) => a[0] - b[0] || (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : a[2] - b[2]));
  }
  slotCrc(slot) {
    return crc32(new TextEncoder().encode(this.rows(slot).map((level) => `${level.slice(1).join(",")};`).join("")));
  }
  crc() {
    const words = new DataView(new ArrayBuffer(384));
    for (let slot = 1; slot <= 96; slot++) words.setUint32(4 * (slot - 1), this.slotCrc(slot));
    return crc32(new Uint8Array(words.buffer));
  }
  // Take in a message about the book. False: something is missing or differs, so resync.
  apply(message) {
    if (message.t === "snap") [this.ep, this.levels] = [message.ep, new Map()];
    else if (!this.ep) return true;
    else if (message.t === "hb") {
      const [ep, seq, crc] = Object.values(message.at)[0];
      return ep === this.ep && (seq < this.seq || (seq === this.seq && crc === this.crc()));
    } else if (message.seq <= this.seq) return true;
    else if (message.prev > this.seq) return false;
    this.seq = message.seq;
    for (const level of message.lv ?? []) {
      this.levels[level[3] ? "set" : "delete"](level.slice(0, 3).join(), level); // volume 0 is gone
    }
    const checked = Object.entries(message.cs ?? {}).every(([slot, crc]) => this.slotCrc(Number(slot)) === crc);
    return checked && (message.crc === undefined || message.crc === this.crc());
  }
}

export function follow(server, token, show, book = new Book(), pause = 1000) {
  const socket = new WebSocket(`${server.replace(/^http/, "ws")}/ws`, "bidbook.v1");
  const send = (message) => socket.send(JSON.stringify(message));
  const authenticate = (id) => send({ op: "auth", id, token });
  const since = book.ep ? { ep: book.ep, seq: book.seq } : null;
  const subscribe = () => send({ op: "subscribe", id: "subscribe", ch: "book", since });
  let [retry, watch] = [null, setTimeout(() => socket.close(), 10000)];
  socket.onopen = () => (token ? authenticate("auth") : subscribe());
  socket.onmessage = async ({ data }) => {
    clearTimeout(watch);
    watch = setTimeout(() => socket.close(), 10000); // a heartbeat comes every second
    const message = JSON.parse(data);
    if (message.t === "ok" && message.id === "auth") subscribe();
    else if (message.t === "token_expiring") {
      const headers = { Authorization: `Bearer ${token}` };
      token = (await (await fetch(`${server}/token/refresh`, { method: "POST", headers })).json()).token ?? token;
      authenticate("refresh");
    } else if (message.t === "bye") retry = message.retry_ms;
    else if (message.t === "err") show(book, message.msg);
    else if (["snap", "upd", "gate", "cleared", "hb"].includes(message.t)) {
      pause = 1000;
      if (!book.apply(message)) {
        book.ep = "";
        send({ op: "resync", id: "resync", ch: "book" });
      } else if (book.ep && message.t !== "hb") show(book, "verified");
    }
  };
  socket.onclose = ({ code }) => {
    clearTimeout(watch);
    if (code >= 4500 || [1002, 1003, 1007, 1009].includes(code)) return show(book, `closed for good: ${code}`);
    show(book, `closed with ${code}, coming back`);
    const [from, to] = retry ?? [0, pause];
    setTimeout(follow, from + Math.random() * (to - from), server, token, show, book, Math.min(2 * pause, 30000));
  };
}

// The peer Fastify + pg: a compiled schema, a pool, and one prepared statement a request, which is its own transaction.
import { createHash } from 'node:crypto'
import fastifyJwt from '@fastify/jwt'
import Fastify from 'fastify'
import pg from 'pg'

const DAY_MS = 24 * 3600 * 1000
const INDIA_MS = 5.5 * 3600 * 1000
const CAP = 1_000_000
const MAX_VOLUME = 1_000_000_000
const UNIQUE_VIOLATION = '23505'

const time = (quarter) => `${String(quarter >> 2).padStart(2, '0')}:${String((quarter & 3) * 15).padStart(2, '0')}`
const SLOTS = new Map(Array.from({ length: 96 }, (_, n) => [`${time(n)}-${time((n + 1) % 96)}`, n + 1]))

const PLACE = {
  name: 'place',
  text: `WITH placed AS (
           INSERT INTO bids (account_id, delivery_day, slot, side, price, volume)
           SELECT $1, $2, b.slot, $3, b.price, b.volume
             FROM unnest($4::smallint[], $5::integer[], $6::integer[]) AS b (slot, price, volume)
           RETURNING id
         )
         INSERT INTO idempotency_keys (account_id, key, body_sha256, delivery_day, bid_ids)
         SELECT $1, $7, $8, $2, array_agg(id ORDER BY id) FROM placed
         RETURNING bid_ids`,
}
const REPLAY = {
  name: 'replay',
  text: `SELECT body_sha256, delivery_day::text, bid_ids FROM idempotency_keys WHERE account_id = $1 AND key = $2`,
}

const schema = {
  headers: {
    type: 'object',
    required: ['idempotency-key'],
    properties: { 'idempotency-key': { type: 'string', pattern: '^[\\x21-\\x7e]{1,200}$' } },
  },
  body: {
    type: 'object',
    required: ['arr'],
    properties: {
      arr: {
        type: 'array',
        minItems: 1,
        maxItems: 1000,
        items: {
          type: 'object',
          required: ['timeslot', 'volume', 'price'],
          properties: {
            timeslot: { type: 'string', maxLength: 11 },
            volume: { type: 'string', pattern: '^[0-9]{1,7}(\\.[0-9]{1,3})?$' },
            price: { type: 'string', pattern: '^[0-9]{1,5}(\\.[0-9]{1,2})?$' },
          },
        },
      },
    },
  },
  response: {
    200: {
      type: 'object',
      properties: {
        message: { type: 'string' },
        deliveryDate: { type: 'string' },
        bids: { type: 'array', items: { type: 'integer' } },
      },
    },
  },
}

// bigint[] as numbers, without the detour over texts.
pg.types.setTypeParser(1016, (text) => JSON.parse(`[${text.slice(1, -1)}]`))
const pool = new pg.Pool({ max: Number(process.env.POOL_SIZE) })
const app = Fastify({ logger: false, bodyLimit: 1024 * 1024 })
app.register(fastifyJwt, {
  secret: process.env.SECRET_KEY,
  verify: { algorithms: ['HS256'], allowedIss: 'shakti', allowedAud: 'shakti:account' },
})
app.decorateRequest('bodySha256', null)
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
  request.bodySha256 = createHash('sha256').update(body).digest()
  try {
    done(null, JSON.parse(body))
  } catch (fault) {
    fault.statusCode = 400
    done(fault)
  }
})

function ticksOf(arr) {
  const slots = new Array(arr.length)
  const prices = new Array(arr.length)
  const volumes = new Array(arr.length)
  for (let i = 0; i < arr.length; i++) {
    slots[i] = SLOTS.get(arr[i].timeslot)
    prices[i] = Math.round(Number(arr[i].price) * 100)
    volumes[i] = Math.round(Number(arr[i].volume) * 1000)
    if (slots[i] === undefined || prices[i] > CAP || volumes[i] < 1 || volumes[i] > MAX_VOLUME) return null
  }
  return { slots, prices, volumes }
}

app.post('/placebid/dayahead', { schema, onRequest: (request) => request.jwtVerify() }, async (request, reply) => {
  const bids = ticksOf(request.body.arr)
  if (bids === null) return reply.code(400).send({ message: 'Validation failed' })
  const account = request.user.sub
  const key = request.headers['idempotency-key']
  const day = new Date(Date.now() + DAY_MS + INDIA_MS).toISOString().slice(0, 10)
  const side = request.user.accountType === 'prosumer' ? 'S' : 'B'
  try {
    const values = [account, day, side, bids.slots, bids.prices, bids.volumes, key, request.bodySha256]
    const { rows } = await pool.query({ ...PLACE, values })
    return { message: 'Bid placed successfully', deliveryDate: day, bids: rows[0].bid_ids }
  } catch (fault) {
    if (fault.code !== UNIQUE_VIOLATION) throw fault
    const { rows } = await pool.query({ ...REPLAY, values: [account, key] })
    if (!rows[0].body_sha256.equals(request.bodySha256)) return reply.code(422).send({ message: 'Key reused' })
    return { message: 'Bid placed successfully', deliveryDate: rows[0].delivery_day, bids: rows[0].bid_ids }
  }
})

await app.listen({ host: '127.0.0.1', port: Number(process.env.PORT), backlog: 1024 })

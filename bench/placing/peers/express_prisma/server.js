// The peer Express + Prisma, as an application of that kind is usually shipped: middleware for the token, a zod schema,
// createMany inside an interactive transaction.
import { createHash } from 'node:crypto'
import { PrismaPg } from '@prisma/adapter-pg'
import prismaClient from '@prisma/client'
import express from 'express'
import jwt from 'jsonwebtoken'
import { z } from 'zod'

const { Prisma, PrismaClient } = prismaClient
const DAY_MS = 24 * 3600 * 1000
const INDIA_MS = 5.5 * 3600 * 1000

const time = (quarter) => `${String(quarter >> 2).padStart(2, '0')}:${String((quarter & 3) * 15).padStart(2, '0')}`
const SLOTS = new Map(Array.from({ length: 96 }, (_, n) => [`${time(n)}-${time((n + 1) % 96)}`, n + 1]))

const Key = z.string().regex(/^[\x21-\x7e]{1,200}$/)
const Placement = z.object({
  arr: z
    .array(
      z.object({
        timeslot: z.string().refine((text) => SLOTS.has(text)),
        volume: z
          .string()
          .regex(/^[0-9]{1,7}(\.[0-9]{1,3})?$/)
          .transform((text) => Math.round(Number(text) * 1000))
          .pipe(z.number().min(1).max(1_000_000_000)),
        price: z
          .string()
          .regex(/^[0-9]{1,5}(\.[0-9]{1,2})?$/)
          .transform((text) => Math.round(Number(text) * 100))
          .pipe(z.number().max(1_000_000)),
      })
    )
    .min(1)
    .max(1000),
})

const prisma = new PrismaClient({ adapter: new PrismaPg({ max: Number(process.env.POOL_SIZE) }) })
const app = express()
app.use(
  express.json({
    limit: '1mb',
    verify: (request, response, body) => {
      request.bodySha256 = createHash('sha256').update(body).digest()
    },
  })
)

function authenticate(request, response, next) {
  try {
    const token = (request.headers.authorization ?? '').replace(/^Bearer /, '')
    const allowed = { algorithms: ['HS256'], issuer: 'shakti', audience: 'shakti:account' }
    request.user = jwt.verify(token, process.env.SECRET_KEY, allowed)
    next()
  } catch {
    response.status(401).json({ message: 'Invalid token' })
  }
}

async function place(account, side, deliveryDay, arr, key, bodySha256) {
  return prisma.$transaction(async (transaction) => {
    const data = arr.map((bid) => ({
      accountId: account,
      deliveryDay,
      slot: SLOTS.get(bid.timeslot),
      side,
      price: bid.price,
      volume: bid.volume,
    }))
    // createMany itself answers with a count; this is it with RETURNING.
    const bids = await transaction.bid.createManyAndReturn({ data, select: { id: true } })
    const bidIds = bids.map((bid) => bid.id)
    await transaction.idempotencyKey.create({ data: { accountId: account, key, bodySha256, deliveryDay, bidIds } })
    return bidIds
  })
}

function answer(response, deliveryDay, bidIds) {
  const deliveryDate = deliveryDay.toISOString().slice(0, 10)
  response.json({ message: 'Bid placed successfully', deliveryDate, bids: bidIds.map(Number) })
}

app.post('/placebid/dayahead', authenticate, async (request, response) => {
  const key = Key.safeParse(request.headers['idempotency-key'])
  const placement = Placement.safeParse(request.body)
  if (!key.success || !placement.success) {
    const errors = [key, placement].flatMap((parsed) => parsed.error?.issues ?? [])
    return response.status(400).json({ message: 'Validation failed', errors: errors.map((issue) => issue.message) })
  }
  const account = BigInt(request.user.sub)
  const side = request.user.accountType === 'prosumer' ? 'S' : 'B'
  const deliveryDay = new Date(new Date(Date.now() + DAY_MS + INDIA_MS).toISOString().slice(0, 10))
  try {
    const bidIds = await place(account, side, deliveryDay, placement.data.arr, key.data, request.bodySha256)
    return answer(response, deliveryDay, bidIds)
  } catch (fault) {
    if (!(fault instanceof Prisma.PrismaClientKnownRequestError && fault.code === 'P2002')) throw fault
    const where = { accountId_key: { accountId: account, key: key.data } }
    const earlier = await prisma.idempotencyKey.findUniqueOrThrow({ where })
    if (!request.bodySha256.equals(earlier.bodySha256)) return response.status(422).json({ message: 'Key reused' })
    return answer(response, earlier.deliveryDay, earlier.bidIds)
  }
})

app.listen(Number(process.env.PORT), '127.0.0.1', 1024)

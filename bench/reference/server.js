// What this service is usually built with: Express, Sequelize, a JSON web token, a row lock per wallet, and a retry on
// deadlocks. It keeps fewer promises than the desk (no chain, no audit, no stored refusals, floats for money), so what
// the desk costs more per promise shows in the ratio, and what it saves does too.
'use strict';

const cluster = require('cluster');
const { WORKERS = '2', POOL = '25', PORT = '8101', DATABASE_URL, JWT_SECRET } = process.env;

if (cluster.isPrimary) {
  for (let n = 0; n < Number(WORKERS); n++) cluster.fork();
  cluster.on('exit', (worker, code) => { if (code) process.exit(code); });
  process.on('SIGTERM', () => {
    Object.values(cluster.workers).forEach((worker) => worker.kill());
    process.exit(0);
  });
} else {
  serve();
}

function serve() {
  const crypto = require('crypto');
  const express = require('express');
  const jwt = require('jsonwebtoken');
  const { models, sequelize, UniqueConstraintError } = connect();
  const { AppUser, Wallet, Key, Txn, Entry } = models;

  class Refusal extends Error {
    constructor(status, message) { super(message); this.status = status; }
  }

  async function authenticate(req, res, next) {
    try {
      const claims = jwt.verify((req.headers.authorization || '').replace(/^Bearer /, ''), JWT_SECRET);
      req.user = await AppUser.findByPk(claims.sub);
      if (!req.user || !req.user.is_active) return res.status(401).json({ error: 'unauthorized' });
      return next();
    } catch {
      return res.status(401).json({ error: 'unauthorized' });
    }
  }

  function transfer(user, key, hash, { from_wallet: from, to_wallet: to, amount }) {
    return sequelize.transaction(async (transaction) => {
      const now = new Date();
      const record = await Key.create({ user_id: user.id, key, request_hash: hash, status: 'processing' }, { transaction });
      const ordered = [from, to].map(Number).sort((a, b) => a - b);
      const locked = {};
      for (const id of ordered) {
        locked[id] = await Wallet.findByPk(id, { transaction, lock: transaction.LOCK.UPDATE });
        if (!locked[id]) throw new Refusal(404, 'wallet not found');
      }
      const source = locked[Number(from)];
      const target = locked[Number(to)];
      if (String(source.user_id) !== String(user.id)) throw new Refusal(403, 'not the owner');
      if (Number(source.balance) < Number(amount)) throw new Refusal(422, 'insufficient funds');
      for (const [wallet, change] of [[source, -Number(amount)], [target, Number(amount)]]) {
        const balance = (Number(wallet.balance) + change).toFixed(4);
        await wallet.update({ balance, version: Number(wallet.version) + 1, updated_at: now }, { transaction });
      }
      const txn = await Txn.create({ user_id: user.id, kind: 'transfer', amount, created_at: now }, { transaction });
      for (const [wallet, change] of [[source, -Number(amount)], [target, Number(amount)]]) {
        const row = { txn_id: txn.id, wallet_id: wallet.id, amount: change, balance_after: wallet.balance, created_at: now };
        await Entry.create(row, { transaction });
      }
      const response = { id: txn.id, from: source.id, to: target.id, amount, balance_after: source.balance, created_at: now };
      await record.update({ status: 'completed', response_code: 201, response }, { transaction });
      return response;
    });
  }

  async function answerAgain(user, key, hash, res) {
    const seen = await Key.findOne({ where: { user_id: user.id, key } });
    const isSame = seen && seen.request_hash === hash && seen.status === 'completed';
    return isSame ? res.status(seen.response_code).json(seen.response) : res.status(409).json({ error: 'conflict' });
  }

  const app = express();
  app.use(express.json());
  app.get('/health', (req, res) => res.json({ ok: true }));
  app.post('/transfers', authenticate, async (req, res) => {
    const key = req.get('Idempotency-Key');
    const { from_wallet: from, to_wallet: to, amount } = req.body;
    if (!key || !from || !to || from === to || !(Number(amount) > 0)) return res.status(400).json({ error: 'validation' });
    const hash = crypto.createHash('sha256').update(JSON.stringify(req.body)).digest('hex');
    for (let attempt = 1; ; attempt++) {
      try {
        return res.status(201).json(await transfer(req.user, key, hash, req.body));
      } catch (error) {
        if (error instanceof UniqueConstraintError) return answerAgain(req.user, key, hash, res);
        if (error instanceof Refusal) return res.status(error.status).json({ error: error.message });
        const isConflict = ['40P01', '40001'].includes(error.parent && error.parent.code);
        if (!isConflict || attempt === 3) return res.status(500).json({ error: 'internal' });
        await new Promise((done) => { setTimeout(done, 10 + Math.random() * 90); });
      }
    }
  });
  app.listen(Number(PORT), '127.0.0.1');
}

function connect() {
  const { Sequelize, DataTypes, UniqueConstraintError } = require('sequelize');
  const pool = { max: Number(POOL), min: 5, acquire: 30000, idle: 10000 };
  const sequelize = new Sequelize(DATABASE_URL, { dialect: 'postgres', logging: false, pool });
  const options = { timestamps: false, freezeTableName: true };
  const id = { type: DataTypes.BIGINT, primaryKey: true, autoIncrement: true };
  const { BIGINT, BOOLEAN, DATE, JSONB, SMALLINT, STRING } = DataTypes;
  const money = DataTypes.DECIMAL(20, 4);
  const models = {
    AppUser: sequelize.define('app_user', { id, email: STRING, is_active: BOOLEAN }, options),
    Wallet: sequelize.define('wallet', { id, user_id: BIGINT, balance: money, version: BIGINT, updated_at: DATE }, options),
    Key: sequelize.define('idempotency_key', {
      id, user_id: BIGINT, key: STRING, request_hash: STRING, status: STRING, response_code: SMALLINT, response: JSONB,
    }, options),
    Txn: sequelize.define('txn', { id, user_id: BIGINT, kind: STRING, amount: money, created_at: DATE }, options),
    Entry: sequelize.define('entry', {
      id, txn_id: BIGINT, wallet_id: BIGINT, amount: money, balance_after: money, created_at: DATE,
    }, options),
  };
  return { models, sequelize, UniqueConstraintError };
}

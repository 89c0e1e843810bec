// Customers and what they do. One request per iteration, so that the arrival rate is the request rate; in a rush one
// party per iteration.

import http from 'k6/http';
import exec from 'k6/execution';
import { randomSeed } from 'k6';
import { SharedArray } from 'k6/data';
import { kindOf } from './outcomes.js';
import { measures, waited } from './measures.js';

http.setResponseCallback(null); // outcomes are classed here; k6's own notion of failure would be one more metric

const users = new SharedArray('users', () => JSON.parse(open(__ENV.TOKENS || import.meta.resolve('../tokens.json'))));
const SORTS = ['newest', 'newest', 'newest', 'popular', 'popular', 'price', '-price'];
const ISSUANCE = /"issuance_id":\s*(\d+)/;
const reported = {};
const coupons = []; // places this VU's customers hold and have not spent: [{ user, issuanceId }]

function below(count) {
  return Math.floor(Math.random() * count);
}

// Few goods are wanted by many: half of the choices fall on a quarter of the range, as on every shop window.
function popular(range) {
  return range.first + Math.floor(range.count * Math.random() ** 2);
}

function anyone() {
  return users[below(users.length)];
}

export function shopper(plan) {
  const { record, charge, answered } = measures(plan);
  const timeout = plan.timeout_s * 1000;
  if (__VU) randomSeed(plan.seed * 100003 + __VU);

  function paramsOf(user, body) {
    const headers = {};
    if (user) headers.Authorization = `Bearer ${user.access}`;
    if (body) headers['Content-Type'] = 'application/json';
    if (body && Math.random() < plan.keyed) headers['Idempotency-Key'] = `k6-${__VU}-${__ITER}-${Date.now()}`;
    return { headers, timeout };
  }

  function send(endpoint, method, path, user, body) {
    const sentAt = Date.now();
    const text = body ? JSON.stringify(body) : null;
    return counted(endpoint, http.request(method, plan.baseUrl + path, text, paramsOf(user, body)), sentAt);
  }

  // All at the same moment, each with a token of their own; options.batchPerHost lets a whole party through.
  function sendTogether(endpoint, path, customers, body) {
    const sentAt = Date.now();
    const text = JSON.stringify(body);
    const requests = customers.map((user) => ['POST', plan.baseUrl + path, text, paramsOf(user, body)]);
    return http.batch(requests).map((response) => counted(endpoint, response, sentAt));
  }

  // Returns the answer to go on with, null for a customer who got nothing.
  function counted(endpoint, response, sentAt) {
    const kind = kindOf(endpoint, response, response.status);
    record(endpoint, response.timings, kind, sentAt);
    if (kind.outcome === 'done') return response;
    const isExpected = kind.outcome === 'refused' || (kind.outcome === 'contention' && __VU > plan.refusal_reporters);
    if (!isExpected) reportOnce(endpoint, response);
    return null;
  }

  // The first odd answer of each kind and VU, with its body: a count alone never explained anything.
  function reportOnce(endpoint, response) {
    const kind = `${endpoint} ${response.status}`;
    if (reported[kind]) return;
    reported[kind] = true;
    const said = (response.body || response.error || '').slice(0, 400);
    console.error(`odd ${JSON.stringify({ endpoint, status: response.status, said })}`);
  }

  function keep(user, response, askedAt) {
    if (!response) return;
    const issuanceId = Number(ISSUANCE.exec(response.body)[1]);
    if (coupons.length < 5) coupons.push({ user, issuanceId });
    if (Math.random() >= plan.claim_sample) return;
    const answeredAt = Math.min(Date.now(), Math.round(askedAt + waited(response.timings, askedAt)));
    console.log(`claim ${issuanceId} ${answeredAt}`);
  }

  function basket() {
    const items = {};
    for (let line = 0; line <= below(3); line += 1) items[popular(plan.productRange)] = 1 + below(3);
    return Object.entries(items).map(([id, quantity]) => ({ product_id: Number(id), quantity }));
  }

  const acts = {
    list() {
      const page = 1 + Math.floor(5 * Math.random() ** 3);
      send('list', 'GET', `/products?size=20&page=${page}&sort=${SORTS[below(SORTS.length)]}`);
    },
    top_selling() {
      send('top_selling', 'GET', '/products/top-selling');
    },
    detail() {
      send('detail', 'GET', `/products/${popular(plan.productRange)}`);
    },
    balance() {
      const user = anyone();
      send('balance', 'GET', `/balance/${user.user_id}`, user);
    },
    charge() {
      const amount = 1000 * (1 + below(50));
      if (send('charge', 'POST', '/balance/charge', anyone(), { amount })) charge(amount);
    },
    coupon() {
      const isHot = plan.couponRange.count === 0 || Math.random() < plan.hot_coupon_share;
      const user = anyone();
      const couponId = isHot ? plan.hotCoupon : plan.couponRange.first + below(plan.couponRange.count);
      const askedAt = Date.now();
      keep(user, send('coupon', 'POST', '/coupons/issue', user, { coupon_id: couponId }), askedAt);
    },
    empty() {
      send('empty', 'GET', '/empty'); // what capacity is compared with; only loadtests/empty_view.py answers it
    },
    order() {
      const held = Math.random() < plan.coupon_orders ? coupons.pop() : undefined;
      const user = held ? held.user : anyone();
      send('order', 'POST', '/orders', user, Object.assign({ items: basket() }, held && { issuance_id: held.issuanceId }));
    },
  };

  const names = Object.keys(plan.mix);
  const shares = names.map((name) => plan.mix[name]);
  const sum = shares.reduce((total, share) => total + share, 0);

  function one() {
    let dice = Math.random() * sum;
    let place = 0;
    while (place < names.length - 1 && (dice -= shares[place]) >= 0) place += 1;
    acts[names[place]]();
  }

  // This VU's share of those who come; each of them comes once.
  function party() {
    const first = exec.scenario.iterationInTest * plan.party;
    const count = Math.min(plan.party, Math.round(plan.rate) - first);
    return Array.from({ length: count }, (_, place) => users[(first + place) % users.length]);
  }

  // Everyone wants the same coupon and the same product at the same time. What a VU costs k6 (12 s to make 10,000 of
  // them, half of its CPU during the burst) the shop lacks, so each stands for a party that asks at the same moment.
  function rush() {
    const customers = party();
    if (plan.mix.coupon) {
      const askedAt = Date.now(); // a party goes on with its last answer: each one's moment is told by its own timings
      const answers = sendTogether('coupon', '/coupons/issue', customers, { coupon_id: plan.hotCoupon });
      answers.forEach((answer, place) => keep(customers[place], answer, askedAt));
    }
    if (plan.mix.order) {
      sendTogether('order', '/orders', customers, { items: [{ product_id: plan.productRange.first, quantity: 1 }] });
    }
    // Since the doors opened: a late start must not look like a fast answer. One value per party, after its last answer
    // is counted: for the others of the party an upper bound, and only the highest of all is reported.
    answered(customers.length, Date.now() - exec.scenario.startTime);
  }

  return { one, rush };
}

// Customers and what they do. One request per iteration, so that the arrival rate is the request rate.

import http from 'k6/http';
import exec from 'k6/execution';
import { randomSeed } from 'k6';
import { SharedArray } from 'k6/data';
import { codeOf, outcomeOf } from './outcomes.js';
import { record, recordCharge } from './measures.js';

http.setResponseCallback(http.expectedStatuses(200, 202, 304, 409, 429, 503));

const users = new SharedArray('users', () => JSON.parse(open(__ENV.TOKENS || import.meta.resolve('../tokens.json'))));
const SORTS = ['newest', 'newest', 'newest', 'popular', 'popular', 'price', '-price'];
const reported = {};
const coupons = []; // places this VU's customers hold and have not spent: [{ user, issuanceId }]

function below(count) {
  return Math.floor(Math.random() * count);
}

// Few goods are wanted by many: half of the choices fall on a quarter of the range, as on every shop window.
function popular(range) {
  return range.first + Math.floor(range.count * Math.random() ** 2);
}

export function shopper(plan) {
  function seedOnce() {
    if (exec.vu.iterationInInstance === 0) randomSeed(plan.seed * 100003 + exec.vu.idInTest);
  }

  function send(endpoint, method, path, { user, body } = {}) {
    const headers = { 'X-Request-Start': `t=${(Date.now() / 1000).toFixed(3)}` };
    if (user) headers.Authorization = `Bearer ${user.access}`;
    if (body) headers['Content-Type'] = 'application/json';
    if (body && Math.random() < plan.keyed) headers['Idempotency-Key'] = `k6-${exec.vu.idInTest}-${exec.vu.iterationInInstance}-${Date.now()}`;
    const params = { headers, timeout: `${plan.timeout_s}s`, tags: { name: endpoint } };
    const response = http.request(method, plan.baseUrl + path, body ? JSON.stringify(body) : null, params);
    const code = codeOf(response);
    const outcome = outcomeOf(endpoint, response, code);
    record(endpoint, response, outcome, code, plan.objectives);
    if (outcome !== 'done' && outcome !== 'refused') reportOnce(endpoint, response);
    return outcome === 'done' ? response : null;
  }

  // The first odd answer of each kind and VU, with its body: a count alone never explained anything.
  function reportOnce(endpoint, response) {
    const kind = `${endpoint} ${response.status}`;
    if (reported[kind]) return;
    reported[kind] = true;
    const said = (response.body || response.error || '').slice(0, 400);
    console.error(`odd ${JSON.stringify({ endpoint, status: response.status, said })}`);
  }

  function claim(user, couponId) {
    const response = send('coupon', 'POST', '/coupons/issue', { user, body: { coupon_id: couponId } });
    if (!response) return;
    const issuanceId = response.json('issuance_id');
    if (coupons.length < 5) coupons.push({ user, issuanceId });
    if (Math.random() < plan.claim_sample) console.log(`claim ${issuanceId} ${Date.now()}`);
  }

  function order(user, items, issuanceId) {
    const body = issuanceId ? { items, issuance_id: issuanceId } : { items };
    send('order', 'POST', '/orders', { user, body });
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
      const user = users[below(users.length)];
      send('balance', 'GET', `/balance/${user.user_id}`, { user });
    },
    charge() {
      const amount = 1000 * (1 + below(50));
      const body = { amount };
      if (send('charge', 'POST', '/balance/charge', { user: users[below(users.length)], body })) recordCharge(amount);
    },
    coupon() {
      const isHot = plan.couponRange.count === 0 || Math.random() < plan.hot_coupon_share;
      const id = isHot ? plan.hotCoupon : plan.couponRange.first + below(plan.couponRange.count);
      claim(users[below(users.length)], id);
    },
    order() {
      const held = Math.random() < plan.coupon_orders ? coupons.pop() : undefined;
      order(held ? held.user : users[below(users.length)], basket(), held && held.issuanceId);
    },
  };

  const names = Object.keys(plan.mix);
  const sum = names.reduce((total, name) => total + plan.mix[name], 0);

  function one() {
    seedOnce();
    let dice = Math.random() * sum;
    const chosen = names.find((name) => (dice -= plan.mix[name]) < 0) || names[0];
    acts[chosen]();
  }

  // Everyone wants the same coupon and the same product at the same time; each customer comes once.
  function rush() {
    const user = users[exec.scenario.iterationInTest % users.length];
    claim(user, plan.hotCoupon);
    order(user, [{ product_id: plan.productRange.first, quantity: 1 }]);
  }

  return { one, rush };
}

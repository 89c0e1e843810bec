// Customers and what they do. One request per iteration, so that the arrival rate is the request rate.

import http from 'k6/http';
import exec from 'k6/execution';
import { randomSeed } from 'k6';
import { SharedArray } from 'k6/data';
import { kindOf } from './outcomes.js';
import { measures } from './measures.js';

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

  function send(endpoint, method, path, user, body) {
    const sentAt = Date.now();
    const headers = { 'X-Request-Start': `t=${sentAt / 1000}` };
    if (user) headers.Authorization = `Bearer ${user.access}`;
    if (body) headers['Content-Type'] = 'application/json';
    if (body && Math.random() < plan.keyed) headers['Idempotency-Key'] = `k6-${__VU}-${__ITER}-${sentAt}`;
    const response = http.request(method, plan.baseUrl + path, body ? JSON.stringify(body) : null, { headers, timeout });
    const status = response.status;
    const kind = kindOf(endpoint, response, status);
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

  function claim(user, couponId) {
    const response = send('coupon', 'POST', '/coupons/issue', user, { coupon_id: couponId });
    if (!response) return;
    const issuanceId = Number(ISSUANCE.exec(response.body)[1]);
    if (coupons.length < 5) coupons.push({ user, issuanceId });
    if (Math.random() < plan.claim_sample) console.log(`claim ${issuanceId} ${Date.now()}`);
  }

  function order(user, items, issuanceId) {
    send('order', 'POST', '/orders', user, issuanceId ? { items, issuance_id: issuanceId } : { items });
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
      claim(anyone(), isHot ? plan.hotCoupon : plan.couponRange.first + below(plan.couponRange.count));
    },
    empty() {
      send('empty', 'GET', '/empty'); // what capacity is compared with; only loadtests/empty_view.py answers it
    },
    order() {
      const held = Math.random() < plan.coupon_orders ? coupons.pop() : undefined;
      order(held ? held.user : anyone(), basket(), held && held.issuanceId);
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

  // Everyone wants the same coupon and the same product at the same time; each customer comes once.
  function rush() {
    const user = users[exec.scenario.iterationInTest % users.length];
    if (plan.mix.coupon) claim(user, plan.hotCoupon);
    if (plan.mix.order) order(user, [{ product_id: plan.productRange.first, quantity: 1 }]);
    answered(Date.now() - exec.scenario.startTime); // since the doors opened: a late start must not look like a fast answer
  }

  return { one, rush };
}

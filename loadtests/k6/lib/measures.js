// Everything that is counted. Sub-metrics exist because a threshold names them; `count>=0` only makes k6 keep them.
// No threshold stands on a Trend: k6 would sort all its values every two seconds.

import { Counter, Rate, Trend } from 'k6/metrics';
import { DESIGNED_REFUSALS, OUTCOMES } from './outcomes.js';
import { ENDPOINTS } from './plan.js';

const NAMES = Object.keys(ENDPOINTS);
const STATUSES = [0, 200, 201, 202, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 502, 503, 504];
const BOUNDS_MS = [5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500, 5000];

const answers = {};
const latencies = {};
for (const name of NAMES) {
  answers[name] = new Counter(`answers_${name}`);
  latencies[name] = new Trend(`latency_${name}`, true);
}
const all = new Trend('latency_all', true);
const unexpected = new Counter('unexpected');
const withinObjective = new Rate('within_objective');
const charged = new Counter('charged_amount');
// One counter per latency class: read each second from outside, they give percentiles over time for a few bytes.
const classes = [...BOUNDS_MS, 'inf'].map((bound) => new Counter(`latency_le_${bound}`));

export function thresholdsFor(objectives) {
  const thresholds = {
    unexpected: [`count<=${objectives.unexpected}`],
    within_objective: ['rate>=0.95'], // the same statement as p(95) <= p95_ms, without sorting
    dropped_iterations: [`count<=${objectives.dropped_iterations}`],
  };
  for (const name of NAMES) {
    for (const outcome of OUTCOMES) thresholds[`answers_${name}{outcome:${outcome}}`] = ['count>=0'];
    for (const status of STATUSES) thresholds[`answers_${name}{status:${status}}`] = ['count>=0'];
    for (const code of DESIGNED_REFUSALS[name] || []) thresholds[`answers_${name}{code:${code}}`] = ['count>=0'];
  }
  return thresholds;
}

export function record(endpoint, response, outcome, code, objectives) {
  const spent = response.timings;
  const ms = spent.blocked + spent.connecting + spent.duration; // as the customer waits: to get a connection, too
  answers[endpoint].add(1, { outcome, status: String(response.status), code });
  latencies[endpoint].add(ms);
  all.add(ms);
  withinObjective.add(ms <= objectives.p95_ms);
  const place = BOUNDS_MS.findIndex((bound) => ms <= bound);
  classes[place < 0 ? BOUNDS_MS.length : place].add(1);
  if (outcome === 'server_fault' || outcome === 'timeout' || outcome === 'generator') unexpected.add(1);
}

export function recordCharge(amount) {
  charged.add(amount);
}

// Everything that is counted. Four values per request, because each costs k6 about 4 µs; sub-metrics exist because a
// threshold names them, and `count>=0` only makes k6 keep them. No threshold stands on a Trend: k6 would sort all its
// values every two seconds.

import { Counter, Trend } from 'k6/metrics';
import { kindsOf } from './outcomes.js';
import { phaseThresholds, phases } from './phases.js';
import { plannedOf } from './plan.js';

const BOUNDS_MS = [5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 1500, 2500, 5000];

// Thresholds are read once, from the script's own options: they are not built again for each of a thousand VUs.
export function thresholdsFor(plan) {
  const { objectives } = plan;
  const planned = plannedOf(plan);
  const thresholds = {
    unexpected: [`count<=${objectives.unexpected}`],
    late: [`count<=${Math.floor(planned / 20)}`], // the same statement as p(95) <= p95_ms, without sorting
    dropped_iterations: [`count<=${objectives.dropped_iterations}`],
  };
  for (const endpoint of plan.endpoints) {
    for (const kind of kindsOf(endpoint)) thresholds[`answers_${endpoint}{kind:${kind}}`] = ['count>=0'];
  }
  return Object.assign(thresholds, phaseThresholds(plan));
}

// As the customer waits, for a connection too: connecting is a part of blocked (ten at once: 3.54 ms, 3.45 of them
// connecting) and not added. What k6 itself needs to take up a new connection is in both (in a rush that was over after
// 6.9 s it made an answer 11.2 s old), so no wait is longer than from before the request until now.
export function waited(timings, sentAt) {
  return Math.min(timings.blocked + timings.duration, Date.now() + 1 - sentAt); // +1: Date.now() cuts off
}

export function measures(plan) {
  const all = new Trend('latency_all', true);
  const unexpected = new Counter('unexpected');
  const late = new Counter('late');
  const charged = new Counter('charged_amount');
  const customers = new Counter('customers');
  const answeredAfter = new Trend('answered_after', true);
  // One counter per latency class: read each second from outside, they give percentiles over time for a few bytes.
  const classes = [...BOUNDS_MS, 'inf'].map((bound) => new Counter(`latency_le_${bound}`));
  const inPhase = phases(plan);
  const asked = {};
  for (const endpoint of plan.endpoints) {
    asked[endpoint] = {
      answers: new Counter(`answers_${endpoint}`),
      latency: new Trend(`latency_${endpoint}`, true),
    };
  }

  function record(endpoint, timings, kind, sentAt) {
    const { answers, latency } = asked[endpoint];
    const ms = waited(timings, sentAt);
    answers.add(1, kind.tags);
    latency.add(ms);
    all.add(ms);
    let place = 0;
    while (ms > BOUNDS_MS[place]) place += 1; // past the last bound: undefined, which nothing exceeds
    classes[place].add(1);
    if (ms > plan.objectives.p95_ms) late.add(1);
    if (kind.unexpected) unexpected.add(1);
    inPhase(endpoint, sentAt, ms, kind.outcome);
  }

  // k6 counts iterations, which are parties; what was planned are customers.
  function answered(count, ms) {
    customers.add(count);
    answeredAfter.add(ms);
  }

  return { record, answered, charge: (amount) => charged.add(amount) };
}

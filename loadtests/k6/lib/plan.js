// The numbers of a run: scenarios.json, each of them overridden by the environment variable of its name in capitals
// (`-e RATE=200 -e DURATION_S=30`, `-e MIX='{"order": 1}'`). Load goes to this machine only: whoever means another one has mistyped.

import { SharedArray } from 'k6/data';

const LOOPBACK = /^http:\/\/(127\.\d+\.\d+\.\d+|localhost|\[::1\])(:\d+)?$/;

function overridden(name, value) {
  const given = __ENV[name.toUpperCase()];
  return given === undefined || typeof value !== 'number' ? value : Number(given);
}

function bounded(name, value, most) {
  if (Number.isNaN(value) || (most !== undefined && !(value > 0 && value <= most))) {
    throw new Error(`${name}=${value}: a number above 0 and at most ${most}`);
  }
  return value;
}

// Mix and objectives are given as JSON objects.
function given(name, usual) {
  return __ENV[name] ? JSON.parse(__ENV[name]) : usual;
}

// Phases are given in seconds that share out the run's length, so that a shorter run has the same shape.
function stretched(phases, duration) {
  const sum = phases.reduce((total, phase) => total + phase.seconds, 0);
  return phases.map((phase) => Object.assign({}, phase, { seconds: (phase.seconds * duration) / sum }));
}

function rangeFrom(first, count) {
  return { first: Number(__ENV[first] || 1), count: Number(__ENV[count] || 1) };
}

function read(scenario) {
  const book = JSON.parse(open(import.meta.resolve('../scenarios.json')));
  const baseUrl = __ENV.BASE_URL || 'http://127.0.0.1:8000';
  if (!LOOPBACK.test(baseUrl)) {
    throw new Error(`refused: ${baseUrl} is not this machine`);
  }
  const chosen = Object.assign({}, book.defaults, book.scenarios[scenario]);
  const numbers = {};
  for (const [name, value] of Object.entries(chosen)) {
    numbers[name] = typeof value === 'number' ? bounded(name, overridden(name, value), book.limits[name]) : value;
  }
  const mix = given('MIX', chosen.mix);
  return Object.assign(numbers, {
    scenario,
    baseUrl,
    mix,
    endpoints: Object.keys(mix),
    phases: stretched(chosen.phases || [], numbers.duration_s),
    objectives: given('OBJECTIVES', Object.assign({}, book.objectives, chosen.objectives)),
    productRange: rangeFrom('PRODUCT_FIRST', 'PRODUCT_COUNT'),
    couponRange: rangeFrom('COUPON_FIRST', 'COUPON_COUNT'),
    hotCoupon: Number(__ENV.HOT_COUPON || __ENV.COUPON_FIRST || 1),
  });
}

// The plan is made once and shared: each of a thousand VUs would otherwise read and keep the whole book.
export function planFor(scenario) {
  return new SharedArray('plan', () => [read(scenario)])[0];
}

function held(rate, seconds, rampSeconds = 0) {
  const target = Math.max(1, Math.round(rate));
  return [{ target, duration: `${rampSeconds}s` }, { target, duration: `${seconds}s` }];
}

// The rate over time. A step begins at once (a stage of no length), a ramp takes its seconds.
export function stagesOf(plan) {
  if (plan.phases.length) return plan.phases.flatMap(({ factor, seconds }) => held(plan.rate * factor, seconds));
  const stages = [];
  const stepSeconds = (plan.duration_s - plan.ramp_s) / plan.steps;
  for (let step = 1; step <= plan.steps; step += 1) {
    stages.push(...held((plan.rate * step) / plan.steps, stepSeconds, step === 1 ? plan.ramp_s : 0));
  }
  return stages;
}

// How many iterations the stages ask for.
export function plannedOf(plan) {
  let from = plan.ramp_s ? 1 : 0;
  return stagesOf(plan).reduce((total, { target, duration }) => {
    const held = (parseFloat(duration) * (from || target) + parseFloat(duration) * target) / 2;
    from = target;
    return total + held;
  }, 0);
}

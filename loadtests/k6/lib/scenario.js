// A scenario = its plan, the executor that keeps the rate, the customers, and a summary file for the report.

import { thresholdsFor } from './measures.js';
import { planFor, stagesOf } from './plan.js';
import { shopper } from './shoppers.js';

const STATISTICS = ['avg', 'min', 'med', 'p(95)', 'p(99)', 'max', 'count'];

// Open model: requests come when they come, whether or not earlier ones were answered. All VUs exist before the start,
// because making one in the middle costs the CPU that the shop needs.
function arrivals(plan) {
  const stages = stagesOf(plan);
  const startRate = plan.ramp_s ? 1 : stages[0].target;
  return { executor: 'ramping-arrival-rate', startRate, stages, preAllocatedVUs: plan.vus, maxVUs: plan.vus };
}

// `rate` people at once, in parties, each of them once: whoever a busy generator cannot start in time still comes, late.
function burst(plan) {
  const vus = Math.ceil(Math.round(plan.rate) / plan.party);
  return { executor: 'per-vu-iterations', vus, iterations: 1, maxDuration: `${plan.timeout_s * 3}s` };
}

function summaryOf(plan) {
  return (data) => {
    const metrics = {};
    for (const [name, metric] of Object.entries(data.metrics)) metrics[name] = metric.values;
    const seconds = data.state.testRunDurationMs / 1000;
    return { [__ENV.SUMMARY || 'summary.json']: JSON.stringify({ scenario: plan.scenario, seconds, metrics }) };
  };
}

function optionsOf(name, plan, executor) {
  return {
    batch: plan.party || 1, // usually 20 at once and 6 to one host: the rest of a party would wait for the first
    batchPerHost: plan.party || 1,
    scenarios: { [name]: Object.assign(executor, { gracefulStop: `${plan.timeout_s + 5}s` }) },
    thresholds: thresholdsFor(plan),
    summaryTrendStats: STATISTICS,
    systemTags: [], // what the report needs are tags of our own; these would be made for eight metrics a request
    noCookiesReset: true,
    userAgent: 'shop-loadtest',
  };
}

export function scenario(name, { together = false } = {}) {
  const plan = planFor(name);
  const customers = shopper(plan);
  return {
    // k6 reads options from the script itself (__VU 0), not from the VUs that run it.
    options: __VU === 0 ? optionsOf(name, plan, together ? burst(plan) : arrivals(plan)) : {},
    visit: together ? customers.rush : customers.one,
    summary: summaryOf(plan),
  };
}

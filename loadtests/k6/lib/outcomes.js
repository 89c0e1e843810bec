// What an answer means. Five classes, and a sixth (generator) for what never reached the shop.

export const OUTCOMES = ['done', 'refused', 'contention', 'server_fault', 'timeout', 'generator'];

// Refusals a sound shop gives to sound requests of this load: part of the business, not a failure.
export const DESIGNED_REFUSALS = {
  coupon: ['coupon_sold_out', 'coupon_already_issued'],
  order: ['issuance_not_usable'],
  charge: ['balance_limit_exceeded'],
};

const DONE = { list: [200, 304], top_selling: [200, 304], detail: [200, 304], coupon: [202], order: [202] };
const MARKS = { list: '"results"', top_selling: '"results"', detail: '"price"', balance: '"balance"' };
const CONTENTION = [429, 503];
const TIMEOUTS = [1050, 1211]; // k6: no answer in time, no connection in time
const LOCAL_LIMITS = /too many open files|cannot assign requested address|no buffer space/;
const CODE = /"code":\s*"([a-z_]+)"/;

export function codeOf(response) {
  const found = response.status >= 400 && response.body ? CODE.exec(response.body) : null;
  return found ? found[1] : '';
}

function withoutAnswer(response) {
  if (TIMEOUTS.includes(response.error_code)) return 'timeout';
  return LOCAL_LIMITS.test(response.error) ? 'generator' : 'server_fault';
}

export function outcomeOf(endpoint, response, code) {
  const status = response.status;
  if (status === 0) return withoutAnswer(response);
  if ((DONE[endpoint] || [200]).includes(status)) {
    const mark = MARKS[endpoint];
    return !mark || status === 304 || response.body.includes(mark) ? 'done' : 'server_fault';
  }
  if (CONTENTION.includes(status) || code === 'idempotency_key_in_flight') return 'contention';
  return status === 409 && (DESIGNED_REFUSALS[endpoint] || []).includes(code) ? 'refused' : 'server_fault';
}

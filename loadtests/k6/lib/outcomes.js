// What an answer means. Five classes, and a sixth (generator) for what never reached the shop. A kind is a class with
// its status and, for a designed refusal, its code: `done/200/`, `refused/409/coupon_sold_out`.

// Refusals a sound shop gives to sound requests of this load: part of the business, not a failure.
const DESIGNED_REFUSALS = {
  coupon: ['coupon_sold_out', 'coupon_already_issued'],
  order: ['issuance_not_usable'],
  charge: ['balance_limit_exceeded'],
};

const UNEXPECTED = ['server_fault', 'timeout', 'generator'];

const DONE = { list: [200, 304], top_selling: [200, 304], detail: [200, 304], coupon: [202], order: [202] };
const MARKS = { list: '"results"', top_selling: '"results"', detail: '"price"', balance: '"balance"' };
const CONTENTION = [429, 503];
const IN_FLIGHT = 'idempotency_key_in_flight';
const FAULTS = [0, 200, 201, 202, 304, 400, 401, 403, 404, 405, 409, 413, 415, 422, 500, 502, 504];
const TIMEOUTS = [1050, 1211]; // k6: no answer in time, no connection in time
const LOCAL_LIMITS = /too many open files|cannot assign requested address|no buffer space/;
const CODE = /"code":\s*"([a-z_]+)"/;

// Every kind of answer there may be: what is not among them would not be counted.
export function kindsOf(endpoint) {
  return [
    ...(DONE[endpoint] || [200]).map((status) => `done/${status}/`),
    ...(DESIGNED_REFUSALS[endpoint] || []).map((code) => `refused/409/${code}`),
    ...[409, ...CONTENTION].map((status) => `contention/${status}/`),
    ...[...FAULTS, 'other'].map((status) => `server_fault/${status}/`),
    'timeout/0/',
    'generator/0/',
  ];
}

const known = {};

// What is counted under a kind, made once per VU.
function kind(outcome, status, code) {
  const name = `${outcome}/${status}/${code}`;
  return known[name] || (known[name] = { outcome, unexpected: UNEXPECTED.includes(outcome), tags: { kind: name } });
}

function withoutAnswer(response) {
  if (TIMEOUTS.includes(response.error_code)) return 'timeout';
  return LOCAL_LIMITS.test(response.error) ? 'generator' : 'server_fault';
}

export function kindOf(endpoint, response, status) {
  if (status === 0) return kind(withoutAnswer(response), 0, '');
  if ((DONE[endpoint] || [200]).includes(status)) {
    const mark = MARKS[endpoint];
    const isRight = !mark || status === 304 || response.body.includes(mark);
    return kind(isRight ? 'done' : 'server_fault', status, '');
  }
  if (CONTENTION.includes(status)) return kind('contention', status, '');
  const found = status === 409 && response.body ? CODE.exec(response.body) : null;
  const code = found ? found[1] : '';
  if (code === IN_FLIGHT) return kind('contention', status, '');
  if ((DESIGNED_REFUSALS[endpoint] || []).includes(code)) return kind('refused', status, code);
  return kind('server_fault', FAULTS.includes(status) ? status : 'other', '');
}

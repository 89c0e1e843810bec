// The phases of an overload: what was asked in each of them and how that ended. A request belongs to the phase in which
// it was sent, so a queue that one phase leaves behind counts against that phase.

import exec from 'k6/execution';
import { Counter, Gauge, Trend } from 'k6/metrics';

const KINDS = ['good', 'late', 'shed', 'error'];

// Kept by k6 only because a threshold names them; see measures.js.
export function phaseThresholds(plan) {
  const thresholds = {};
  for (const { name } of plan.phases) {
    for (const endpoint of plan.endpoints) {
      for (const kind of KINDS) thresholds[`phase_${name}{kind:${endpoint}/${kind}}`] = ['count>=0'];
    }
  }
  return thresholds;
}

// An answer that comes too late is no use to anybody: it was work, not goodput.
function kindOf(outcome, ms, inTimeMs) {
  if (outcome === 'contention') return 'shed';
  if (outcome !== 'done' && outcome !== 'refused') return 'error';
  return ms <= inTimeMs ? 'good' : 'late';
}

export function phases(plan) {
  if (!plan.phases.length) return () => {};
  const beganAt = new Gauge('began_at');
  const shed = new Counter('shed');
  const inTimeMs = plan.objectives.accepted_p99_ms;
  const tags = {};
  for (const endpoint of plan.endpoints) {
    tags[endpoint] = {};
    for (const kind of KINDS) tags[endpoint][kind] = { kind: `${endpoint}/${kind}` };
  }
  let end = 0;
  const measured = plan.phases.map(({ name, seconds }) => ({
    end: (end += seconds * 1000),
    answers: new Counter(`phase_${name}`),
    accepted: new Trend(`accepted_${name}`, true),
    refused: new Trend(`refused_${name}`, true),
  }));
  let began = 0;

  return (endpoint, sentAt, ms, outcome) => {
    if (!began) beganAt.add((began = exec.scenario.startTime)); // the shop's clock is the same: settling is counted by it
    let place = 0;
    while (place < measured.length - 1 && sentAt - began >= measured[place].end) place += 1;
    const phase = measured[place];
    const kind = kindOf(outcome, ms, inTimeMs);
    phase.answers.add(1, tags[endpoint][kind]);
    if (kind === 'shed') {
      shed.add(1);
      phase.refused.add(ms);
    } else if (kind !== 'error') phase.accepted.add(ms);
  };
}

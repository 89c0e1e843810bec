// Capacity: one rate, held for a while; the runner looks for the highest that meets the objectives.

import { scenario } from './lib/scenario.js';

const capacity = scenario('capacity');
export const options = capacity.options;
export default capacity.visit;
export const handleSummary = capacity.summary;

// Soak: half an hour of a normal day, to see what grows.

import { scenario } from './lib/scenario.js';

const soak = scenario('soak');
export const options = soak.options;
export default soak.visit;
export const handleSummary = soak.summary;

// Smoke: ten seconds of everything, slowly. Shows that the shop and the suite understand each other.

import { scenario } from './lib/scenario.js';

const smoke = scenario('smoke');
export const options = smoke.options;
export default smoke.visit;
export const handleSummary = smoke.summary;

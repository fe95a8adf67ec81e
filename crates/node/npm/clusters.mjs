// The same subpath for `import`.
export { Clusters, NoClusterError } from './dist/clusters.js';

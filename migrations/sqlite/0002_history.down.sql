DROP TABLE snapshots;
DROP TABLE recoveries;
DROP TABLE interventions;
DROP TABLE tallies;

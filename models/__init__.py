"""How Sonic's network is made: corpus, training, export, quantisation. Never imported by the running product."""

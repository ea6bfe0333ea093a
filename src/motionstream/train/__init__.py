"""Training stages of nano: vae, teacher, ode-pairs, causal-init, distill."""

"""Training stages of nano: vae, teacher, ode-pairs, causal-init, distill, rechunk, recall, and average of two students."""

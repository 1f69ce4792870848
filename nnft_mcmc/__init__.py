"""nnft_mcmc"""

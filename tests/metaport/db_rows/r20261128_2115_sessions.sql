-- Sessions have no partition before there is usage, and the rest is columns of what stands already.
SELECT 1;

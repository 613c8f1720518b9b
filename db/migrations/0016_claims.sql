-- Stands in for what is made elsewhere, so that the next number can be built and tested here.
SELECT 1;
